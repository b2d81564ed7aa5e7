"""What the engine tells whoever measures it. It knows nothing of metrics; by default nobody listens."""

from __future__ import annotations

from typing import Literal, Protocol

DropCause = Literal["cancelled", "deadline"]
RestartCause = Literal["died", "hung"]


class EngineObserver(Protocol):
    """Called from the engine's threads: must be thread-safe, quick, and must not raise."""

    def batch(self, num_sentences: int, num_tokens: int, num_padded_tokens: int, compute_s: float) -> None:
        """One run of the network has ended. num_padded_tokens: num_tokens and the padding beside them."""
        ...

    def queued(self, seconds: float) -> None:
        """A sentence begins to run for the first time, so long after it was submitted."""
        ...

    def dropped(self, cause: DropCause) -> None:
        """A sentence left the queue without being computed, or without the rest of its slices."""
        ...

    def restarted(self, cause: RestartCause) -> None:
        """The engine's thread was lost, and another has taken its place."""
        ...

    def cache(self, hits: int, misses: int) -> None:
        """The distinct tokens of a batch were looked up in the token cache."""
        ...


class Unobserved:
    """Nobody listens."""

    def batch(self, num_sentences: int, num_tokens: int, num_padded_tokens: int, compute_s: float) -> None:
        pass

    def queued(self, seconds: float) -> None:
        pass

    def dropped(self, cause: DropCause) -> None:
        pass

    def restarted(self, cause: RestartCause) -> None:
        pass

    def cache(self, hits: int, misses: int) -> None:
        pass

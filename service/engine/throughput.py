"""How fast the engine has been lately, so that a client that is turned away learns when to come back."""

from __future__ import annotations

import math

MEMORY = 0.9
"""Share of the old estimate that one more batch keeps: a change is followed within some ten batches."""

MAX_WAIT_S = 60


class Throughput:
    """A moving average of tokens per second."""

    def __init__(self) -> None:
        self._tokens_per_s: float | None = None

    def observe(self, num_tokens: int, took_s: float) -> None:
        """Take in one batch."""
        rate = num_tokens / max(took_s, 1e-9)
        old = self._tokens_per_s
        self._tokens_per_s = rate if old is None else MEMORY * old + (1 - MEMORY) * rate

    def wait_s(self, num_tokens: int) -> int:
        """Return the whole seconds, 1 to MAX_WAIT_S, that this many tokens will take."""
        if self._tokens_per_s is None:
            return 1
        return min(max(1, math.ceil(num_tokens / self._tokens_per_s)), MAX_WAIT_S)

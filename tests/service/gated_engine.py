"""An engine that a test opens and closes by hand, and the real queue and threads before it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from service.engine.batcher import Batcher
from service.engine.observer import DropCause, RestartCause
from service.engine.outcomes import UNFINISHED, Outcome
from service.work import Work
from tests.patience import PATIENCE_S

LONG_S = 600.0
TIMEOUT_S = PATIENCE_S


class Item:
    """Some tokens, run in slices of at most `longest`; its result is how many slices it had."""

    def __init__(self, num_tokens: int, name: str = "", longest: int = 10_000) -> None:
        self.num_tokens = num_tokens
        self.name = name
        self.longest = longest
        self.num_runs = 0

    @property
    def next_tokens(self) -> int:
        return min(self.longest, self.num_tokens)


class GatedEngine:
    """Runs only while its gate is open, says when it has begun, and goes wrong on names that it is given."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches: list[list[Item]] = []
        self.lengths: list[list[int]] = []
        self.raising: set[str] = set()
        self.ending: set[str] = set()  # the thread
        self.num_made = 0

    def make(self) -> GatedEngine:
        self.num_made += 1
        return self

    def __call__(self, batch: Sequence[Item]) -> Iterator[tuple[int, Outcome[int]]]:
        self.batches.append(list(batch))
        self.lengths.append([item.next_tokens for item in batch])
        self.begun.release()
        assert self.gate.wait(TIMEOUT_S)
        for i, item in enumerate(batch):
            if item.name in self.raising:
                raise RuntimeError("the engine broke on somebody's text")
            if item.name in self.ending:
                raise SystemExit
            if item.name == "bad":
                yield i, ValueError(item.name)
                continue
            item.num_runs += 1
            item.num_tokens -= item.next_tokens
            yield i, UNFINISHED if item.num_tokens else item.num_runs

    @property
    def names(self) -> list[list[str]]:
        return [[item.name for item in batch] for batch in self.batches]


class Notes:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.dropped_causes: list[DropCause] = []
        self.restart_causes: list[RestartCause] = []
        self.num_queued = 0
        self.batches: list[tuple[int, int, int]] = []
        self.lookups: list[tuple[int, int]] = []

    def batch(self, num_sentences: int, num_tokens: int, num_padded_tokens: int, compute_s: float) -> None:
        assert compute_s >= 0
        self.batches.append((num_sentences, num_tokens, num_padded_tokens))

    def queued(self, seconds: float) -> None:
        assert seconds >= 0
        self.num_queued += 1

    def dropped(self, cause: DropCause) -> None:
        self.dropped_causes.append(cause)

    def restarted(self, cause: RestartCause) -> None:
        self.restart_causes.append(cause)

    def cache(self, hits: int, misses: int) -> None:
        self.lookups.append((hits, misses))


def batcher(
    engine: GatedEngine,
    *,
    batch_tokens: int = 100,
    queue_tokens: int = 1000,
    max_age_s: float = LONG_S,
    stall_s: float = LONG_S,
    hang_s: float = LONG_S,
    observer: Notes | None = None,
) -> Batcher[Item, int]:
    return Batcher(
        engine.make,
        batch_tokens=batch_tokens,
        queue_tokens=queue_tokens,
        max_age_s=max_age_s,
        stall_s=stall_s,
        hang_s=hang_s,
        observer=observer,
    )


def held(engine: GatedEngine, queue: Batcher[Item, int]) -> Future[int]:
    """Give the engine one item and wait until it is busy with it, so that whatever comes next must queue."""
    (future,) = queue.submit([Item(1, "first")], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    return future


def items(*lengths: int) -> list[Item]:
    return [Item(length) for length in lengths]

"""What waits for the engine, counted in tokens. Not thread-safe: the batcher holds a lock around every call.

When more waits than one batch holds, the shortest go first, as many as fill a token budget that counts
padding; once something has waited `max_age_s`, the next batch is built around it, so that nothing starves.
Beside it then run others of like length, but only of those that came next: if they were chosen from all that
waits, every request would be begun long before the first is finished, and what is computed wait in memory.
Of a document that runs in slices, the next slice is what is packed, and all that remains is what is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from service.engine.packing import around, prefix
from service.work import Work


class Sized(Protocol):
    @property
    def num_tokens(self) -> int:
        """All that is still to be run."""
        ...

    @property
    def next_tokens(self) -> int:
        """Of these, what the next run takes."""
        ...


Item = TypeVar("Item", bound=Sized)
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Entry(Generic[Item, Result]):
    """One item with the future that its request waits for."""

    item: Item
    work: Work
    submitted_s: float
    future: Future[Result] = field(default_factory=Future)
    queue_s: float | None = None  # from its submission to its first run, once that has begun
    compute_s: float = 0.0
    # Kept beside the item, which another thread may be working on.
    arrived_s: float = field(init=False)
    next_tokens: int = field(init=False)
    counted_tokens: int = field(init=False)  # what it adds to the depth of the queue

    def __post_init__(self) -> None:
        self.arrived_s = self.submitted_s
        self.next_tokens = self.item.next_tokens
        self.counted_tokens = self.item.num_tokens


OLDEST_BATCHES = 4
"""Of so many batches, by age, one is chosen by length: with fewer there is more padding."""


class TokenQueue(Generic[Item, Result]):
    """Entries that wait, in the order in which they came; of one request the shortest first."""

    def __init__(self, batch_tokens: int, max_age_s: float) -> None:
        self._batch_tokens = batch_tokens
        self._max_age_s = max_age_s
        self._waiting: list[Entry[Item, Result]] = []
        self._depth = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def depth(self) -> int:
        """Tokens that wait: of a document, also the slices after the one that is running."""
        return self._depth

    def add(self, entries: Sequence[Entry[Item, Result]]) -> None:
        self._waiting += sorted(entries, key=lambda entry: entry.next_tokens)
        self._depth += sum(entry.counted_tokens for entry in entries)

    def put_back(self, entry: Entry[Item, Result]) -> None:
        """Queue an entry for its next slice, at the end: whatever came meanwhile is as old as this."""
        entry.arrived_s = time.monotonic()
        entry.next_tokens = entry.item.next_tokens
        self._waiting.append(entry)

    def release(self, entry: Entry[Item, Result]) -> None:
        """Count no longer what an entry, which was taken, will never run."""
        self._depth -= entry.counted_tokens
        entry.counted_tokens = 0

    def remove(self, is_unwanted: Callable[[Entry[Item, Result]], bool]) -> list[Entry[Item, Result]]:
        """Take all such entries out, and return them."""
        unwanted = [entry for entry in self._waiting if is_unwanted(entry)]
        if unwanted:
            gone = set(unwanted)
            self._waiting = [entry for entry in self._waiting if entry not in gone]
            for entry in unwanted:
                self.release(entry)
        return unwanted

    def take(self) -> list[Entry[Item, Result]]:
        """Remove and return the next batch of the queue, which is not empty."""
        oldest = self._waiting[0]
        is_overdue = time.monotonic() - oldest.arrived_s >= self._max_age_s
        chosen = sorted(self._oldest() if is_overdue else self._waiting, key=lambda entry: entry.next_tokens)
        lengths = [entry.next_tokens for entry in chosen]
        if is_overdue:
            start, end = around(lengths, chosen.index(oldest), self._batch_tokens)
        else:
            start, end = 0, prefix(lengths, self._batch_tokens)
        batch = chosen[start:end]
        taken = set(batch)
        self._waiting = [entry for entry in self._waiting if entry not in taken]
        for entry in batch:
            entry.counted_tokens -= entry.next_tokens
        self._depth -= sum(lengths[start:end])
        return batch

    def _oldest(self) -> list[Entry[Item, Result]]:
        """Return what came first, as much as fills OLDEST_BATCHES."""
        num_tokens = 0
        for i, entry in enumerate(self._waiting):
            num_tokens += entry.next_tokens
            if num_tokens >= OLDEST_BATCHES * self._batch_tokens:
                return self._waiting[: i + 1]
        return self._waiting

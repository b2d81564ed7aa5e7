"""Sentences of all requests, gathered into batches for one engine.

The engine starts the moment it is free and something waits; nothing ever sleeps to let a batch fill up. While
it runs, sentences queue. When more waits than one batch holds, the shortest go first, as many as fill a token
budget that counts padding; once a sentence has waited `max_age_s`, the next batch is built around it, so that
nothing starves. The queue is bounded in tokens and refuses at once what does not fit.

Every sentence has its own future. A batch that raises is run again one sentence at a time, so that one that
fails fails alone; whatever happens, every future is answered and the thread lives on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from service.errors import ErrorType, ServiceError, outline
from service.packing import around, prefix
from service.throughput import Throughput

logger = logging.getLogger("polyseme")


class Sized(Protocol):
    @property
    def num_tokens(self) -> int: ...


Item = TypeVar("Item", bound=Sized)
Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class _Entry(Generic[Item, Result]):
    item: Item
    length: int
    arrived_s: float
    future: Future[Result]


class Batcher(Generic[Item, Result]):
    """A queue and the thread that empties it through `run`.

    run: takes a batch, returns for each item its result, or an exception for that item alone.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        batch_tokens: int,
        queue_tokens: int,
        max_age_s: float,
        name: str = "engine",
    ) -> None:
        self._run = run
        self._batch_tokens = batch_tokens
        self._queue_tokens = queue_tokens
        self._max_age_s = max_age_s
        self._waiting: list[_Entry[Item, Result]] = []
        self._num_waiting_tokens = 0
        self._throughput = Throughput()
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name=f"polyseme-{name}", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread takes work."""
        return self._thread.is_alive() and not self._closed

    @property
    def queue_depth(self) -> int:
        """Tokens that wait; those of the batch that is running do not count."""
        return self._num_waiting_tokens

    def submit(self, items: Sequence[Item]) -> list[Future[Result]]:
        """Queue all items or, raising ServiceError, none; one future each, in order."""
        num_tokens = sum(item.num_tokens for item in items)
        if num_tokens > self._queue_tokens:
            raise ServiceError(
                ErrorType.too_many_tokens,
                f"expected at most {self._queue_tokens} tokens in one request, got {num_tokens}",
            )
        now = time.monotonic()
        entries = [_Entry[Item, Result](item, item.num_tokens, now, Future()) for item in items]
        with self._changed:
            if self._closed:
                raise ServiceError(ErrorType.not_ready, "the server is stopping")
            if self._num_waiting_tokens + num_tokens > self._queue_tokens:
                raise self._queue_full(num_tokens)
            self._waiting += entries
            self._num_waiting_tokens += num_tokens
            self._changed.notify()
        return [entry.future for entry in entries]

    def close(self) -> None:
        """Take nothing more, finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _queue_full(self, num_tokens: int) -> ServiceError:
        waiting = self._num_waiting_tokens
        wait_s = self._throughput.wait_s(waiting)
        return ServiceError(
            ErrorType.queue_full,
            f"expected at most {self._queue_tokens - waiting} tokens beside the {waiting} that wait already, "
            f"got {num_tokens}; try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )

    def _work(self) -> None:
        while batch := self._next_batch():
            started_s = time.monotonic()
            self._answer(batch)
            self._throughput.observe(sum(entry.length for entry in batch), time.monotonic() - started_s)
            del batch  # nothing of a batch is kept alive while the next one is waited for

    def _next_batch(self) -> list[_Entry[Item, Result]]:
        """Wait until something can run and return it; nothing when the batcher is closed and empty."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                batch = self._take()
                # A future that its request has given up is dropped here, before any work is done for it.
                if wanted := [entry for entry in batch if entry.future.set_running_or_notify_cancel()]:
                    return wanted

    def _take(self) -> list[_Entry[Item, Result]]:
        """Remove and return the next batch of the queue, which is not empty."""
        self._waiting.sort(key=lambda entry: entry.length)  # nearly sorted already, so close to linear
        lengths = [entry.length for entry in self._waiting]
        oldest = min(range(len(lengths)), key=lambda i: self._waiting[i].arrived_s)
        if time.monotonic() - self._waiting[oldest].arrived_s < self._max_age_s:
            start, end = 0, prefix(lengths, self._batch_tokens)
        else:
            start, end = around(lengths, oldest, self._batch_tokens)
        batch = self._waiting[start:end]
        del self._waiting[start:end]
        self._num_waiting_tokens -= sum(lengths[start:end])
        return batch

    def _answer(self, batch: Sequence[_Entry[Item, Result]]) -> None:
        """Run a batch and answer all of its futures."""
        try:
            results = self._run([entry.item for entry in batch])
            assert len(results) == len(batch)
        except Exception as error:
            logger.error("a batch of %d failed: %s", len(batch), outline(error))
            if len(batch) == 1:
                batch[0].future.set_exception(error)
                return
            for entry in batch:
                self._answer([entry])
            return
        for entry, result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(result)

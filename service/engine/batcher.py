"""Sentences of all requests, gathered into batches for one engine, and the threads that see to it.

The engine starts the moment it is free and something waits; nothing ever sleeps to let a batch fill up. While
it runs, sentences queue (queue.py). The queue is bounded in tokens and refuses at once what does not fit.

Every sentence has its own future, which may be cancelled until it is answered: what nobody wants any more,
and what has passed its deadline, is dropped before it runs, and between two slices. A batch that raises is
run again in halves, so that what fails fails alone.

A second thread watches the first. When the engine's thread has died, or hangs in one step for `hang_s`, what
it held fails and another thread takes its place, with a new engine; the old one, should it ever wake up,
finds itself given up, and ends without touching anything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Generic

from service.engine.observer import EngineObserver, RestartCause, Unobserved
from service.engine.outcomes import Outcome, Run, Unfinished
from service.engine.queue import Entry, Item, Result, TokenQueue
from service.engine.throughput import Throughput
from service.errors import ErrorType, ServiceError, outline
from service.work import Work, deadline_exceeded

logger = logging.getLogger("polyseme")


MAX_GIVEN_UP = 4
"""Threads that hang at the same time. Each keeps an engine with its cache; when so many do, the
process will not get well, and says that it is not ready until one of them has ended."""

CHECKS_PER_HANG = 10
"""How often in `hang_s` the engine's thread is looked at, but for these bounds."""

MIN_PAUSE_S, MAX_PAUSE_S = 0.005, 1.0
"""Between two looks, which cost next to nothing. A thread that dies says so itself."""


@dataclass(slots=True, eq=False)
class _Worker(Generic[Item, Result]):
    """The state of one engine thread. `batch` and `is_given_up` are changed under the batcher's lock only."""

    run: Run[Item, Result] | None = None  # the engine; None until the first batch of a thread's life
    batch: set[Entry[Item, Result]] = field(default_factory=set)  # what it has not answered yet
    step_s: float | None = None  # when its present step began; None while it waits for work
    has_died: bool = False
    is_given_up: bool = False
    thread: threading.Thread = field(init=False)

    def is_busy_for(self, seconds: float) -> bool:
        """Whether the present step has taken longer."""
        step_s = self.step_s
        return step_s is not None and time.monotonic() - step_s > seconds


class Batcher(Generic[Item, Result]):
    """A queue, the engine's thread, which empties it, and the thread that watches it."""

    def __init__(
        self,
        make_run: Callable[[], Run[Item, Result]],
        *,
        batch_tokens: int,
        queue_tokens: int,
        max_age_s: float,
        stall_s: float,
        hang_s: float,
        name: str = "engine",
        observer: EngineObserver | None = None,
    ) -> None:
        """make_run: makes an engine; called now (what it raises is raised here), and for every thread that
        takes another's place. stall_s, hang_s: how long one step may take until the batcher is no longer
        alive, and until its thread is given up."""
        self._make_run = make_run
        self._queue_tokens = queue_tokens
        self._stall_s = stall_s
        self._hang_s = hang_s
        self._name = name
        self._observer = observer or Unobserved()
        self._throughput = Throughput()
        self._queue: TokenQueue[Item, Result] = TokenQueue(batch_tokens, max_age_s)
        self._changed = threading.Condition()  # the lock of all that follows
        self._closed = False
        self._ended = False  # nothing will ever run again
        self._given_up: list[_Worker[Item, Result]] = []
        self._alarm = threading.Event()
        self._worker = self._start(_Worker(make_run()))
        self._watchdog = threading.Thread(target=self._watch, name=f"polyseme-{name}-watch", daemon=True)
        self._watchdog.start()

    @property
    def is_alive(self) -> bool:
        """Whether the engine takes work and gets on with it."""
        worker = self._worker
        lost = worker.has_died or worker.is_given_up
        return not (self._closed or lost or worker.is_busy_for(self._stall_s))

    @property
    def queue_depth(self) -> int:
        """Tokens that wait; the slices that are running do not count."""
        return self._queue.depth

    def submit(self, items: Sequence[Item], work: Work) -> list[Future[Result]]:
        """Queue all items or, raising ServiceError, none; one future each, in order, which `work` holds."""
        num_tokens = sum(item.num_tokens for item in items)
        if num_tokens > self._queue_tokens:
            raise ServiceError(
                ErrorType.too_many_tokens,
                f"expected at most {self._queue_tokens} tokens in one request, got {num_tokens}",
            )
        now_s = time.monotonic()
        entries = [Entry[Item, Result](item, work, now_s) for item in items]
        with self._changed:
            if self._closed:
                raise ServiceError(ErrorType.not_ready, "the server is stopping")
            if self._worker.is_given_up:
                raise ServiceError(ErrorType.not_ready, "the server has lost its engine")
            if self._queue.depth + num_tokens > self._queue_tokens:
                raise self._queue_full(num_tokens)
            self._queue.add(entries)
            self._changed.notify()
        futures = [entry.future for entry in entries]
        work.holds(futures)
        return futures

    def close(self) -> None:
        """Take nothing more, finish what waits, and end the threads.

        An engine that dies or hangs now is not replaced: all that waits fails, after `hang_s` at the latest.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            while not self._ended:
                self._changed.wait()
        self._alarm.set()
        self._watchdog.join()

    def _queue_full(self, num_tokens: int) -> ServiceError:
        waiting = self._queue.depth
        wait_s = self._throughput.wait_s(waiting)
        return ServiceError(
            ErrorType.queue_full,
            f"expected at most {self._queue_tokens - waiting} tokens beside the {waiting} that wait already, "
            f"got {num_tokens}; try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )

    # The engine's thread.

    def _start(self, worker: _Worker[Item, Result]) -> _Worker[Item, Result]:
        worker.thread = threading.Thread(
            target=self._work, args=[worker], name=f"polyseme-{self._name}", daemon=True
        )
        worker.thread.start()
        return worker

    def _work(self, worker: _Worker[Item, Result]) -> None:
        try:
            while batch := self._next_batch(worker):
                started_s = time.monotonic()
                num_tokens = sum(entry.next_tokens for entry in batch)
                self._answer(worker, batch)
                if not worker.is_given_up:
                    self._throughput.observe(num_tokens, time.monotonic() - started_s)
                del batch  # nothing of a batch is kept alive while the next one is waited for
        except (
            BaseException
        ) as error:  # what is no Exception would end the thread and leave its batch waiting
            logger.error("the engine's thread ended: %s", outline(error))
            worker.has_died = True
            self._alarm.set()

    def _next_batch(self, worker: _Worker[Item, Result]) -> list[Entry[Item, Result]]:
        """Wait until something can run and return it; nothing when the thread is to end."""
        with self._changed:
            worker.step_s = None
            while not worker.is_given_up:
                self._drop_unwanted()
                if self._queue:
                    batch = self._queue.take()
                    worker.batch = set(batch)
                    worker.step_s = time.monotonic()
                    self._begin(batch, worker.step_s)
                    return batch
                if self._closed:
                    self._ended = True
                    self._changed.notify_all()
                    return []
                self._changed.wait()
        return []

    def _drop_unwanted(self) -> None:
        for entry in self._queue.remove(lambda entry: entry.future.cancelled() or entry.work.has_expired):
            self._observer.dropped("deadline" if entry.work.has_expired else "cancelled")
            _answer_with(entry, deadline_exceeded())

    def _begin(self, batch: Sequence[Entry[Item, Result]], now_s: float) -> None:
        for entry in batch:
            if entry.queue_s is None:
                entry.queue_s = now_s - entry.submitted_s
                self._observer.queued(entry.queue_s)

    def _answer(self, worker: _Worker[Item, Result], batch: Sequence[Entry[Item, Result]]) -> None:
        """Run a batch and settle all of its entries, unless the thread is given up meanwhile."""
        waiting = dict(enumerate(batch))
        worker.step_s = started_s = time.monotonic()
        try:
            if worker.run is None:
                worker.run = self._make_run()
            for i, outcome in worker.run([entry.item for entry in batch]):
                entry = waiting.pop(i)
                entry.compute_s += time.monotonic() - started_s
                if not self._settle(worker, entry, outcome):
                    return
            assert not waiting
        except Exception as error:
            if worker.is_given_up:
                return
            logger.error("a batch of %d failed: %s", len(batch), outline(error))
            again = list(waiting.values())
            if again and len(batch) == 1:
                self._settle(worker, again[0], error)
                return
            middle = len(again) // 2
            for half in (again[:middle], again[middle:]):
                if half:
                    self._answer(worker, half)

    def _settle(
        self, worker: _Worker[Item, Result], entry: Entry[Item, Result], outcome: Outcome[Result]
    ) -> bool:
        """Answer an entry or, for its next slice, queue it again. False when the thread is given up."""
        with self._changed:
            if worker.is_given_up:
                return False
            worker.step_s = time.monotonic()
            worker.batch.remove(entry)
            if isinstance(outcome, Unfinished):
                self._queue.put_back(entry)
                return True
            self._queue.release(entry)
        _answer_with(entry, outcome)
        return True

    # The thread that watches.

    def _watch(self) -> None:
        pause_s = min(max(MIN_PAUSE_S, self._hang_s / CHECKS_PER_HANG), MAX_PAUSE_S)
        while not self._ended:
            self._alarm.wait(pause_s)
            self._alarm.clear()
            worker = self._worker
            if worker.is_given_up:
                self._replace()
            elif worker.has_died:
                self._give_up(worker, "died")
            elif worker.is_busy_for(self._hang_s):
                self._give_up(worker, "hung")

    def _give_up(self, worker: _Worker[Item, Result], cause: RestartCause) -> None:
        """Fail what the thread holds, and let another take its place."""
        with self._changed:
            if not (worker.has_died or worker.is_busy_for(self._hang_s)):
                return  # it got on with it just now
            worker.is_given_up = True
            lost = list(worker.batch)
            for entry in lost:
                self._queue.release(entry)
            self._given_up.append(worker)
        logger.error("the engine's thread %s with a batch of %d", cause, len(lost))
        self._replace()
        self._observer.restarted(cause)
        for entry in lost:
            _answer_with(entry, _engine_lost())

    def _replace(self) -> None:
        """Start another thread; but none when too many hang, or at the end: then all that waits fails."""
        self._given_up = [worker for worker in self._given_up if worker.thread.is_alive()]
        with self._changed:
            if not self._closed and len(self._given_up) < MAX_GIVEN_UP:
                self._worker = self._start(_Worker())
                return
            lost = self._queue.remove(lambda _: True)
            if self._closed:
                self._ended = True
                self._changed.notify_all()
        for entry in lost:
            _answer_with(entry, _engine_lost())


def _answer_with(entry: Entry[Item, Result], outcome: Result | Exception) -> None:
    """Set the result or the exception, unless the request has given it up."""
    entry.work.timings.slowest(entry.queue_s or 0.0, entry.compute_s)
    try:
        if isinstance(outcome, Exception):
            entry.future.set_exception(outcome)
        else:
            entry.future.set_result(outcome)
    except InvalidStateError:
        pass  # cancelled: nobody waits


def _engine_lost() -> ServiceError:
    return ServiceError(ErrorType.engine_failed, "the engine was lost while this waited for it; try again")

"""The fits that run in this process, each on a thread of its own beside the event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from model.tasks.task import Task
from model.tasks.watch import Cancelled
from service.engine.backend import Floats
from service.engine.embedder import Embedder
from service.engine.fair_share import FairShare, anybody_asks
from service.engine.registry import Registry
from service.errors import ErrorType, ServiceError, outline
from service.task_store.records import FitOver, FitRunning, StoreUnavailable
from service.tasks.examples import Examples
from service.tasks.fit_features import Engine
from service.tasks.fit_lease import FitLease
from service.tasks.fitting import Fitting
from service.tasks.learned_tasks import LearnedTasks, new_task, store_away

logger = logging.getLogger("polyseme")

STOPPED = "the server was stopped before the fit had ended; start it again"
BROKEN = "the server made a mistake; its log says where"

RETRY_AFTER_S = 10


class FitJobs:
    """At most `max_fits` at a time. Called from the event loop."""

    def __init__(self, tasks: LearnedTasks, registry: Registry, is_draining: Callable[[], bool]) -> None:
        self._tasks = tasks
        self._registry = registry
        self._max_fits = registry.settings.max_fits
        self._is_draining = is_draining
        self._is_closed = False
        self._running: set[asyncio.Future[None]] = set()

    @property
    def num_running(self) -> int:
        return len(self._running)

    async def start(self, name: str, embedder: Embedder, examples: Examples) -> None:
        """Begin to learn a task, and return when its name is this fit's.

        Raises ServiceError: too_many_fits, fit_running (in any process), store_unavailable.
        """
        self.check_room()
        loop = asyncio.get_running_loop()
        begun: concurrent.futures.Future[None] = concurrent.futures.Future()
        job = _Job(
            self._tasks, self._registry, name, embedder, examples, loop, begun, lambda: self._is_stopping
        )
        running = loop.create_future()
        self._running.add(running)

        def ended() -> None:
            self._running.discard(running)
            running.set_result(None)

        def work() -> None:
            try:
                job.run()
            finally:
                loop.call_soon_threadsafe(ended)

        threading.Thread(target=work, name="polyseme-fit", daemon=True).start()
        try:
            await asyncio.wrap_future(begun)
        except ServiceError:
            # Its thread is about to end; the next fit need not wait for that.
            self._running.discard(running)
            raise

    def check_room(self) -> None:
        """Raise ServiceError when as many run as may."""
        if len(self._running) >= self._max_fits:
            raise ServiceError(
                ErrorType.too_many_fits,
                f"expected at most {self._max_fits} fits at a time, {len(self._running)} run already",
                headers={"Retry-After": str(RETRY_AFTER_S)},
            )

    async def close(self) -> None:
        """Stop what runs, and wait until it has ended."""
        self._is_closed = True
        if self._running:
            await asyncio.wait(self._running)

    @property
    def _is_stopping(self) -> bool:
        return self._is_closed or self._is_draining()


class _Job:
    """One fit, on its thread."""

    def __init__(
        self,
        tasks: LearnedTasks,
        registry: Registry,
        name: str,
        embedder: Embedder,
        examples: Examples,
        loop: asyncio.AbstractEventLoop,
        begun: concurrent.futures.Future[None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._tasks = tasks
        self._registry = registry
        self._name = name
        self._embedder = embedder
        self._examples = examples
        self._loop = loop
        self._begun = begun
        self._is_stopping = is_stopping

    def run(self) -> None:
        try:
            lease = FitLease(self._tasks.store, self._name, len(self._examples.labels))
        except Exception as error:
            self._begun.set_exception(_refusal(error))
            return
        # What the store does not hear now, it infers from silence.
        with suppress(StoreUnavailable), lease:
            lease.start()
            self._begun.set_result(None)
            self._learn(lease)

    def _learn(self, lease: FitLease) -> None:
        """Take the lease to one of its ends."""
        try:
            task = self._task(lease)
            lease.finish(new_task(task))
            self._tasks.forget(self._name)
        except Cancelled:
            if lease.is_cancelled():
                lease.cancel()
            else:
                lease.fail(STOPPED)
        except FitOver:
            pass  # the lease has told the store what there was to tell
        except StoreUnavailable:
            raise
        except ServiceError as error:
            lease.fail(error.message if error.where is None else f"{error.where}: {error.message}")
        except ValueError as error:  # too little to learn from, in the words of model/tasks/fit.py
            lease.fail(str(error))
        except Exception as error:
            logger.error("a fit failed: %s", outline(error))
            lease.fail(BROKEN)

    def _task(self, lease: FitLease) -> Task:
        def is_cancelled() -> bool:
            return lease.is_cancelled() or self._is_stopping()

        share = FairShare(lambda: anybody_asks(self._registry.embedders), is_cancelled)
        engine = Engine(self._embedder, self._loop, share, is_cancelled)
        fitting = Fitting(self._name, engine, _in_memory, lease.report, self._registry.num_threads)
        return fitting.run(self._examples)


def _in_memory(shape: tuple[int, int, int]) -> Floats:
    return np.empty(shape, dtype=np.float32)


def _refusal(error: Exception) -> Exception:
    """Return what the client that asked for the fit reads."""
    match error:
        case FitRunning():
            message = "expected a name that is not being learned, got one that is: DELETE cancels that fit"
            return ServiceError(ErrorType.fit_running, message)
        case StoreUnavailable():
            return store_away()
    return error

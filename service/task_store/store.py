"""The tasks and their fits, in a database that the server's processes and replicas share.

Nothing is opened, and no database library is imported, before the first operation: a server without tasks
never needs the store. Operations block; in the event loop they are awaited through `run`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from service.task_store.records import (
    Fit,
    FitState,
    NewTask,
    StoreBusy,
    StoredTask,
    StoreUnavailable,
    TaskSummary,
)
from service.task_store.target import StoreTarget

if TYPE_CHECKING:
    from service.task_store.database import Database
    from service.task_store.statements import Statements

logger = logging.getLogger("polyseme")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

NUM_THREADS = 4
"""Of `run`: their own, so that a database that hangs holds up no thread that embedding needs."""

ANSWER_S = 5.0
"""Most time that `run` waits: a lost connection found (2 s), another attempted (2 s), and some more."""

AWAY_S = 1.0
"""After the store could not be opened, operations fail at once for so long: they do not all wait for it."""


class TaskStore:
    """Every operation raises StoreUnavailable while the store is away, and works when it is back.

    Names are as `task_name` returned them. Thread-safe.
    """

    def __init__(self, target: StoreTarget) -> None:
        """Open nothing yet."""
        self.target = target
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="polyseme-store")
        self._opening = threading.Lock()
        self._database: Database | None = None
        self._is_ready = False
        self._away_until = 0.0
        self._is_away = False

    async def run(
        self, operation: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Run an operation of this store on one of its threads. Raises StoreUnavailable after ANSWER_S."""
        call = asyncio.get_running_loop().run_in_executor(self._threads, lambda: operation(*args, **kwargs))
        try:
            return await asyncio.wait_for(call, ANSWER_S)
        except TimeoutError as error:
            raise StoreBusy(f"no answer after {ANSWER_S:g} s") from error

    def close(self) -> None:
        """Let operations that run end, and close the connections."""
        self._threads.shutdown(cancel_futures=True)
        with self._opening:
            if self._database is not None:
                self._database.close()

    def get(self, name: str) -> StoredTask | None:
        with self._transaction() as statements:
            return statements.get_task(name)

    def version(self, name: str) -> str | None:
        """Return what changes with every write of the task, None when there is none. Cheaper than `get`."""
        with self._transaction() as statements:
            return statements.task_version(name)

    def summaries(self) -> list[TaskSummary]:
        """Return all tasks, without documents, by name."""
        with self._transaction() as statements:
            return statements.summaries()

    def put(self, task: NewTask) -> TaskSummary:
        """Keep the task, whole or not at all, in place of one of its name."""
        with self._transaction(writes=True) as statements:
            return statements.put_task(task)

    def delete(self, name: str) -> bool:
        """Remove the task, and the record of its last fit unless that is live. Whether there was a task."""
        with self._transaction(writes=True) as statements:
            return statements.delete_task(name)

    def fit(self, name: str) -> Fit | None:
        """Return the last fit of this name, as far as its owner has told (every HEARTBEAT_S)."""
        with self._transaction() as statements:
            return statements.get_fit(name)

    def request_cancel(self, name: str) -> bool:
        """Ask the live fit of this name to stop, whichever process runs it. Whether there is one.

        From now on it cannot change the task.
        """
        with self._transaction(writes=True) as statements:
            return statements.request_cancel(name)

    # What follows is the owner's side of a fit; fit_lease.py calls it in the right order.

    def begin_fit(self, name: str, id: str, owner: str, num_examples: int) -> None:
        """Raises FitRunning when another fit of this name is live, in any process."""
        with self._transaction(writes=True) as statements:
            statements.begin_fit(name, id, owner, num_examples)

    def beat_fit(self, name: str, id: str, state: FitState, progress: float, message: str) -> bool:
        """Say that the owner lives. Whether the fit was asked to stop. Raises FitOver when it is not live."""
        with self._transaction(writes=True) as statements:
            return statements.beat_fit(name, id, state, progress, message)

    def end_fit(self, name: str, id: str, state: FitState, message: str) -> None:
        """End the fit without a task; nothing happens when it is not live any more."""
        with self._transaction(writes=True) as statements:
            statements.end_fit(name, id, state, message)

    def finish_fit(self, id: str, task: NewTask) -> None:
        """End the fit and keep its task, both or neither; twice is once. Raises FitOver."""
        with self._transaction(writes=True) as statements:
            statements.finish_fit(id, task)

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Statements]:
        database = self._opened()
        try:
            with database.statements(writes=writes) as statements:
                yield statements
        except StoreBusy:
            raise
        except StoreUnavailable as error:
            self._is_ready = False  # the next operation looks whether the store is there
            self._say_away(error)
            raise
        self._say_back()

    def _opened(self) -> Database:
        """Return the database, which was there when it was last used."""
        if self._is_ready and self._database is not None:
            return self._database
        with self._opening:
            if self._is_ready and self._database is not None:
                return self._database
            if time.monotonic() < self._away_until:
                raise StoreUnavailable("could not be opened a moment ago")
            from service.task_store.database import Database

            database = self._database = self._database or Database(self.target)
            try:
                database.prepare()
            except StoreUnavailable as error:
                self._away_until = time.monotonic() + AWAY_S
                self._say_away(error)
                raise
            self._is_ready = True
            return database

    def _say_away(self, error: StoreUnavailable) -> None:
        if not self._is_away:
            self._is_away = True
            logger.error("task store %s is away: %s", self.target, error)

    def _say_back(self) -> None:
        if self._is_away:
            self._is_away = False
            logger.info("task store %s is back", self.target)

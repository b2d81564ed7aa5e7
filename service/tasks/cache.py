"""Tasks ready for use, in memory: what a request that names a task reads instead of the database."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.task_store.records import StoredTask
from service.task_store.store import TaskStore

Parsed = TypeVar("Parsed")

MAX_AGE_S = 0.5
"""A kept task is used for so long without asking the store. Others' changes are seen after this time and one
question; each task in use costs the store two small questions a second for each process."""

MAX_BYTES = 64 * 1024 * 1024
"""Most bytes of documents whose tasks are kept, the least recently used leaving first."""

NUM_LOCKS = 16


@dataclass(slots=True)
class _Kept(Generic[Parsed]):
    task: Parsed
    version: str
    size_bytes: int
    asked_at_s: float  # time.monotonic() before the store was last asked


class TaskCache(Generic[Parsed]):
    """Tasks by name, none older than MAX_AGE_S: each was the store's at a moment no longer ago. Thread-safe.

    A name without a task is asked for every time.
    """

    def __init__(
        self, store: TaskStore, parse: Callable[[StoredTask], Parsed], max_bytes: int = MAX_BYTES
    ) -> None:
        """parse: makes of a document what is used; called once for each version."""
        self._store = store
        self._parse = parse
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._kept: OrderedDict[str, _Kept[Parsed]] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        # A name always has the same one: of many threads that want a task, one asks.
        self._asking = tuple(threading.Lock() for _ in range(NUM_LOCKS))

    async def find(self, name: str) -> Parsed | None:
        """Return the task, or None when there is none. Raises StoreUnavailable."""
        task = self.fresh(name)
        return await self._store.run(self.get, name) if task is None else task

    def fresh(self, name: str) -> Parsed | None:
        """Return the task if the store need not be asked, else None. Never blocks."""
        with self._lock:
            kept = self._kept.get(name)
            if kept is None or time.monotonic() - kept.asked_at_s > MAX_AGE_S:
                return None
            self._kept.move_to_end(name)
            return kept.task

    def get(self, name: str) -> Parsed | None:
        """Return the task, or None when there is none; blocks when the store must be asked.

        Raises StoreUnavailable, and what `parse` raises.
        """
        with self._asking[hash(name) % NUM_LOCKS]:
            task = self.fresh(name)
            return self._asked(name) if task is None else task

    def forget(self, name: str) -> None:
        """Ask for this name anew: what this process has changed, it sees at once."""
        with self._lock:
            self._drop(name)

    def _asked(self, name: str) -> Parsed | None:
        with self._lock:
            kept = self._kept.get(name)
        asked_at_s = time.monotonic()
        if kept is not None and self._store.version(name) == kept.version:
            kept.asked_at_s = asked_at_s
            return kept.task
        stored = self._store.get(name)
        task = None if stored is None else self._parse(stored)
        with self._lock:
            self._drop(name)
            if stored is not None and task is not None and stored.size_bytes <= self._max_bytes:
                self._kept[name] = _Kept(task, stored.version, stored.size_bytes, asked_at_s)
                self._num_bytes += stored.size_bytes
            while self._num_bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))
        return task

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None:
            self._num_bytes -= kept.size_bytes

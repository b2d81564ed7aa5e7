"""The task store as a command opens it: that it cannot be asked is one line, and reading makes no file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from service.refusal import Refusal
from service.settings import Settings
from service.task_store.records import StoreUnavailable
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile, StoreTarget, store_target


def target_of(settings: Settings) -> StoreTarget:
    """Return where the tasks are. Opens nothing."""
    return store_target(settings.tasks_path, settings.database_url, os.environ)


@contextmanager
def open_to_read(target: StoreTarget) -> Iterator[TaskStore | None]:
    """Yield the store; None for a file that nothing has been kept in yet. Raises Refusal."""
    if isinstance(target, SQLiteFile) and not target.path.exists():
        yield None
        return
    with open_to_write(target) as store:
        yield store


@contextmanager
def open_to_write(target: StoreTarget) -> Iterator[TaskStore]:
    """Yield the store, made when there is none. Raises Refusal when it cannot be asked."""
    # A server's log would say once that it is away; here the refusal says it.
    logging.getLogger("polyseme").addHandler(logging.NullHandler())
    store = TaskStore(target)
    try:
        yield store
    except StoreUnavailable as error:
        raise Refusal(f"task store {target}: {error}") from None
    finally:
        store.close()

"""The task store's database: transactions, and one error for all the ways in which it can be away.

Takes a server 120 ms and 14 MB to import (SQLAlchemy): task_store.py does so at the store's first use.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from service.task_store.migrations.upgrade import REVISIONS, current_revision, upgrade
from service.task_store.records import StoreBusy, StoreUnavailable
from service.task_store.sqlite import make_file, sqlite_engine
from service.task_store.statements import Statements
from service.task_store.target import SQLiteFile, StoreTarget

# It logs stack traces of connections that were lost. That the store is away, task_store.py says once.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

TIMEOUT_S = 2.0
"""Most time for connecting, for a lock that another holds, and for the statements of one operation, each."""

POOL = {"pool_size": 2, "max_overflow": 4}
"""Connections of one process: those it keeps, and those it may have beyond them for a moment."""

BUSY = {
    "SQLITE_BUSY", "SQLITE_BUSY_RECOVERY", "SQLITE_BUSY_SNAPSHOT", "SQLITE_BUSY_TIMEOUT", "SQLITE_LOCKED",
    "55P03", "57014", "40001", "40P01", "53300",  # PostgreSQL: lock, time, order, deadlock, connections
}  # fmt: skip
"""Errors that say: another time."""


class Database:
    """A target's connections. Thread-safe."""

    def __init__(self, target: StoreTarget) -> None:
        """Open nothing yet."""
        self._target = target
        self._was_there = False
        if isinstance(target, SQLiteFile):
            self._engine = sqlite_engine(target.path, TIMEOUT_S, **POOL)
        else:
            from service.task_store.postgresql import postgresql_engine

            self._engine = postgresql_engine(target.url, TIMEOUT_S, **POOL)

    def prepare(self) -> None:
        """See that the store is there with the tables this code knows, and make what is missing.

        A file that was there and is gone is not made again: it may come back, and so may its tasks. Raises
        StoreUnavailable, SchemaTooNew.
        """
        if isinstance(self._target, SQLiteFile) and not self._was_there:
            with _translated():
                make_file(self._target.path, TIMEOUT_S)
        with self.transaction(writes=False) as connection:
            is_current = current_revision(connection) == REVISIONS[-1]
        if not is_current:
            self._upgrade()
        self._was_there = True

    @contextmanager
    def transaction(self, *, writes: bool) -> Iterator[Connection]:
        """Yield a connection; commit at the end, undo everything when something raises.

        Raises StoreUnavailable; it may have been committed then all the same.
        """
        engine = self._engine.execution_options(writes=True) if writes else self._engine
        with _translated(), engine.begin() as connection:
            yield connection

    @contextmanager
    def statements(self, *, writes: bool) -> Iterator[Statements]:
        """Yield what may be asked and changed, in one transaction as above."""
        with self.transaction(writes=writes) as connection:
            yield Statements(connection)

    def close(self) -> None:
        """Close the connections that nobody uses; a later use opens new ones."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        with self.transaction(writes=True) as connection:
            if not isinstance(self._target, SQLiteFile):  # there the transaction itself excludes others
                from service.task_store.postgresql import lock_schema

                lock_schema(connection)
            upgrade(connection)


@contextmanager
def _translated() -> Iterator[None]:
    """Make StoreUnavailable of every error that is not our own mistake."""
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except DBAPIError as error:
        raise _unavailable(error.orig) from error
    except NoFreeConnection as error:
        raise StoreBusy("no connection was free in time") from error
    except InvalidRequestError as error:  # the pool's last word, after several
        raise StoreUnavailable("every new connection was lost at once") from error
    except (sqlite3.Error, OSError) as error:
        raise _unavailable(error) from error


def _unavailable(error: BaseException | None) -> StoreUnavailable:
    """Return the error for the log: what the library says, unless it could repeat what a client sent."""
    code = getattr(error, "sqlite_errorname", None)
    state = getattr(error, "sqlstate", None)
    if code is not None:
        text = f"{error} ({code})"
    elif state is not None:  # PostgreSQL's own words may quote a row
        text = f"{type(error).__name__} ({state})"
    else:
        text = str(error).partition("\n")[0]
    return (StoreBusy if {code, state} & BUSY else StoreUnavailable)(text)

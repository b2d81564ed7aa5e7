"""Connections to a task store in a SQLite file: in WAL mode, so that readers never wait for a writer."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import QueuePool

RETRY_S = 0.02
"""Between two attempts to set the journal mode, for which SQLite does not wait by itself."""


class FileConnection(sqlite3.Connection):
    """A connection that knows which file it has open: the name may come to mean another one, or none."""

    identity: tuple[int, int]


def make_file(path: Path, timeout_s: float) -> None:
    """Make the file and its folder where there is none, safe beside others that do the same.

    Raises OSError or sqlite3.Error.
    """
    # For its owner alone, as the XDG specification has it: labels and words of a task may be private.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
    try:
        _until_free(connection, "PRAGMA journal_mode = WAL", timeout_s)
    finally:
        connection.close()


def sqlite_engine(path: Path, timeout_s: float, **pool: Any) -> Engine:
    """Return an engine whose connections open the file, and never make one.

    A transaction with the execution option `writes` takes the write lock at its start, so that what it reads
    stays true until it has written.
    """
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path, timeout_s),
        poolclass=QueuePool,
        pool_timeout=timeout_s,
        hide_parameters=True,
        **pool,
    )

    @event.listens_for(engine, "checkout")
    def refuse_another_file(connection: FileConnection, *_: Any) -> None:
        try:
            same = connection.identity == _identity(path)
        except FileNotFoundError:
            same = False
        if not same:
            raise DisconnectionError  # the pool opens a new one then, or finds that there is none to open

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _connect(path: Path, timeout_s: float) -> FileConnection:
    # Before it is opened: when the file changes in between, the next checkout sees it.
    identity = _identity(path)
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,  # the driver begins nothing; the event above does
        check_same_thread=False,  # the pool gives it to one thread at a time
        factory=FileConnection,
    )
    connection.identity = identity
    return connection


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from another of its name. Raises FileNotFoundError."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _until_free(connection: sqlite3.Connection, statement: str, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not is_busy or time.monotonic() >= end:
                raise
        time.sleep(RETRY_S)

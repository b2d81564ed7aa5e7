"""Connections to a task store in PostgreSQL, none of which can hang: a server that has stopped, or a network
that has gone silent, ends an operation after its time."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import DisconnectionError

from service.task_store.records import StoreUnavailable

SCHEMA_LOCK = 0x506F6C7973656D65
"""Of the advisory lock under which tables are made: "Polyseme" in ASCII."""

ABANDONED_S = 10
"""After so long the server ends a transaction whose client has stopped in its midst, and frees its locks."""


class DriverConnection(Protocol):
    """What is needed here of psycopg's connection; psycopg is there when its extra is installed."""

    @property
    def closed(self) -> bool: ...
    def fileno(self) -> int: ...
    def execute(self, query: str) -> object: ...


def postgresql_engine(url: str, timeout_s: float, **pool: Any) -> Engine:
    """Return an engine with at most `timeout_s` for connecting, and again for what is done with a
    connection."""
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": max(2, int(timeout_s)),  # the driver takes whole seconds, 2 at least
            "application_name": "polyseme",
            "prepare_threshold": None,  # connection poolers (PgBouncer) lose prepared statements
        },
        pool_timeout=timeout_s,
        hide_parameters=True,
        **pool,
    )
    # Set in every transaction, as a connection pooler gives the next one another session. Less than the timer
    # below, so that a server that still answers can say what it waited for.
    limits = (
        f"SET LOCAL statement_timeout = {int(timeout_s * 750)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {ABANDONED_S * 1000}"
    )

    @event.listens_for(engine, "checkout")
    def watch(connection: DriverConnection, record: Any, _: Any) -> None:
        timer = threading.Timer(timeout_s, hang_up, [connection])
        timer.daemon = True
        timer.start()
        try:
            connection.execute(limits)  # begins the transaction, and shows whether the server is still there
        except engine.dialect.loaded_dbapi.Error as error:
            timer.cancel()
            raise DisconnectionError from error  # the pool opens a new one
        record.info["timer"] = timer

    @event.listens_for(engine, "checkin")
    def unwatch(_: DriverConnection | None, record: Any) -> None:
        if timer := record.info.pop("timer", None):
            timer.cancel()

    return engine


def hang_up(connection: DriverConnection) -> None:
    """Close the connection under the thread that waits for it, which then gets an error.

    The server's own statement_timeout does not help when it is the server that hangs.
    """
    if connection.closed:
        return
    already_closed = suppress(OSError)  # when the server was first
    with socket.socket(fileno=os.dup(connection.fileno())) as copy, already_closed:
        copy.shutdown(socket.SHUT_RDWR)


def lock_schema(connection: Connection) -> None:
    """Wait until no other process changes the tables, and let none do so until the transaction ends.

    Raises StoreUnavailable when the database cannot hold every name.
    """
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise StoreUnavailable(f"expected a database with the encoding UTF8, got {encoding}")
    connection.execute(select(func.pg_advisory_xact_lock(SCHEMA_LOCK)))

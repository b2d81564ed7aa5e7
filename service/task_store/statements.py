"""What the task store asks of its database, and changes there."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Row,
    Table,
    cast,
    delete,
    extract,
    func,
    literal,
    select,
    update,
)

from service.task_store.records import (
    LEASE_S,
    Fit,
    FitOver,
    FitRunning,
    FitState,
    NewTask,
    StoredTask,
    TaskSummary,
)
from service.task_store.tables import fits, tasks

LIVE = [state.value for state in FitState if state.is_live]

SUMMARY = [column for column in tasks.columns if column.name != "document"]


class Statements:
    """A transaction's questions and changes, on its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get_task(self, name: str) -> StoredTask | None:
        row = self._connection.execute(select(tasks).where(tasks.c.name == name)).one_or_none()
        return None if row is None else StoredTask(**_values(row))

    def task_version(self, name: str) -> str | None:
        return self._connection.scalar(select(tasks.c.version).where(tasks.c.name == name))

    def summaries(self) -> list[TaskSummary]:
        """Return them by name, in the order of code points: databases sort in ways of their own."""
        rows = self._connection.execute(select(*SUMMARY)).all()
        return sorted((TaskSummary(**_values(row)) for row in rows), key=lambda task: task.name)

    def put_task(self, task: NewTask) -> TaskSummary:
        """Keep the task, in place of one of its name."""
        at = self._now()
        values = {
            "kind": task.kind,
            "model": task.model,
            "model_sha256": task.model_sha256,
            "summary": task.summary,
            "document": task.document,
            "size_bytes": len(task.document.encode("utf-8")),
            # Random, not counted: a name that is deleted and used again must not repeat an old version.
            "version": uuid.uuid4().hex,
            "updated_at": at,
        }
        insert = self._insert(tasks).values(name=task.name, created_at=at, **values)
        upsert = insert.on_conflict_do_update(index_elements=[tasks.c.name], set_=values)
        return TaskSummary(**_values(self._connection.execute(upsert.returning(*SUMMARY)).one()))

    def delete_task(self, name: str) -> bool:
        """Remove the task, and the record of its last fit unless that is live. Whether there was a task."""
        self._connection.execute(delete(fits).where(fits.c.name == name, ~_is_live(self._now())))
        return self._connection.execute(delete(tasks).where(tasks.c.name == name)).rowcount == 1

    def get_fit(self, name: str) -> Fit | None:
        is_live = _is_live(self._now()).label("is_live")
        row = self._connection.execute(select(fits, is_live).where(fits.c.name == name)).one_or_none()
        return None if row is None else _fit(row)

    def begin_fit(self, name: str, id: str, owner: str, num_examples: int) -> None:
        """Make the name's fit this one. Raises FitRunning when another is live.

        One statement, which no other process can come between.
        """
        at = self._now()
        values = {
            "id": id,
            "state": FitState.queued.value,
            "progress": 0.0,
            "message": "",
            "num_examples": num_examples,
            "owner": owner,
            "cancel_requested": False,
            "heartbeat_at": at,
            "started_at": at,
            "ended_at": None,
        }
        insert = self._insert(fits).values(name=name, **values)
        upsert = insert.on_conflict_do_update(index_elements=[fits.c.name], set_=values, where=~_is_live(at))
        if self._connection.execute(upsert.returning(fits.c.id)).one_or_none() is None:
            raise FitRunning(name)

    def beat_fit(self, name: str, id: str, state: FitState, progress: float, text: str) -> bool:
        """Say that the fit's owner lives, and how far it is. Whether it was asked to stop.

        Raises FitOver when the fit is not live any more.
        """
        values = {"state": state.value, "progress": progress, "message": text, "heartbeat_at": self._now()}
        mine = (fits.c.name == name, fits.c.id == id, fits.c.state.in_(LIVE))
        beat = update(fits).where(*mine).values(values)
        asked = self._connection.scalar(beat.returning(fits.c.cancel_requested))
        if asked is None:
            raise FitOver(name, cancelled=False)
        return bool(asked)

    def request_cancel(self, name: str) -> bool:
        """Ask the live fit of this name to stop. Whether there is one."""
        is_live = _is_live(self._now())
        asked = update(fits).where(fits.c.name == name, is_live).values(cancel_requested=True)
        return self._connection.execute(asked).rowcount == 1

    def end_fit(self, name: str, id: str, state: FitState, message: str) -> None:
        """End the fit without a task; nothing happens when it is not live any more."""
        mine = (fits.c.name == name, fits.c.id == id, fits.c.state.in_(LIVE))
        ended = {"state": state.value, "message": message, "ended_at": self._now()}
        self._connection.execute(update(fits).where(*mine).values(ended))

    def finish_fit(self, id: str, task: NewTask) -> None:
        """End the fit and keep its task, both or neither; doing it twice is doing it once.

        Raises FitOver when it was asked to stop before, or is not live any more: the task is not kept then.
        """
        mine = (fits.c.name == task.name, fits.c.id == id)
        ended = {"state": FitState.done.value, "progress": 1.0, "message": "", "ended_at": self._now()}
        finish = update(fits).where(*mine, fits.c.state.in_(LIVE), fits.c.cancel_requested.is_(False))
        if self._connection.execute(finish.values(ended)).rowcount == 1:
            self.put_task(task)
            return
        what_is_left = select(fits.c.state, fits.c.cancel_requested).where(*mine)
        left = self._connection.execute(what_is_left).one_or_none()
        if left is None or left.state != FitState.done:
            raise FitOver(task.name, cancelled=left is not None and left.cancel_requested)

    def _now(self) -> ColumnElement[float]:
        """Return the time, one for the whole statement, by the clock that all processes share."""
        if self._connection.dialect.name == "sqlite":
            return literal(time.time(), Double)  # one machine
        return cast(extract("epoch", func.statement_timestamp()), Double)

    def _insert(self, table: Table) -> Any:
        """Return the database's own INSERT, which knows ON CONFLICT; both have the same methods."""
        if self._connection.dialect.name == "sqlite":
            from sqlalchemy.dialects import sqlite

            return sqlite.insert(table)
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)


def _is_live(at: ColumnElement[float]) -> ColumnElement[bool]:
    return fits.c.state.in_(LIVE) & (fits.c.heartbeat_at >= at - LEASE_S)


def _values(row: Row[Any]) -> dict[str, Any]:
    values = dict(row._mapping)
    for name in ("created_at", "updated_at"):
        values[name] = _time(values[name])
    return values


def _fit(row: Row[Any]) -> Fit:
    state, message = FitState(row.state), row.message
    if state.is_live and not row.is_live:
        state, message = FitState.failed, "the server that ran it has ended"
    return Fit(
        name=row.name,
        id=row.id,
        state=state,
        progress=row.progress,
        message=message,
        num_examples=row.num_examples,
        owner=row.owner,
        cancel_requested=row.cancel_requested,
        started_at=_time(row.started_at),
        ended_at=None if row.ended_at is None else _time(row.ended_at),
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""What the task store keeps: tasks and their fits, as records, and what can go wrong with them.

A task's document is text to the store; model/tasks/task.py says what is in it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MAX_NAME_CHARACTERS = 64

LEASE_S = 15.0
"""A fit whose owner has not been heard of for so long counts as failed, and its name is free again."""


def task_name(text: str) -> str:
    """Return the name in NFC, as which it is kept: Hangul that was typed as jamo is the same name.

    A name is 1 to 64 code points: letters and digits of any script with their marks, and - _ . after the
    first. So it fits in a path as one segment, is no path itself ("..") and holds no ":", which separates
    model and task. Raises ValueError.
    """
    name = unicodedata.normalize("NFC", text)
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"expected a name of 1 to {MAX_NAME_CHARACTERS} characters, got {len(name)}")
    if not _is_letter_or_digit(name[0]):
        raise ValueError(f"expected a name that begins with a letter or a digit, got {name[0]!a}")
    for character in name:
        if not (_is_letter_or_digit(character) or _is_mark(character) or character in "-_."):
            raise ValueError(f"expected a name of letters, digits, - _ and ., got {character!a} in it")
    return name


def _is_letter_or_digit(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "Nd"


def _is_mark(character: str) -> bool:
    """Whether it is a vowel sign or another mark that letters carry; enclosing ones (Me) are none."""
    return unicodedata.category(character) in ("Mn", "Mc")


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be kept. Texts are JSON; the store reads none of them."""

    name: str  # as task_name returned it
    kind: str
    model: str
    model_sha256: str
    document: str
    summary: str  # what a list shows of the document, without its head


@dataclass(frozen=True, slots=True)
class TaskSummary:
    """A task as a list shows it."""

    name: str
    kind: str
    model: str
    model_sha256: str
    summary: str
    size_bytes: int  # of the document in UTF-8
    version: str  # another one after each write, never seen before
    created_at: datetime  # in UTC, as all times here
    updated_at: datetime  # equal to created_at until the first change


@dataclass(frozen=True, slots=True)
class StoredTask(TaskSummary):
    """A task as it is kept."""

    document: str


class FitState(StrEnum):
    """Where a fit stands. The first two are live; the others have ended."""

    queued = "queued"
    running = "running"
    failed = "failed"
    cancelled = "cancelled"
    done = "done"

    @property
    def is_live(self) -> bool:
        return self in (FitState.queued, FitState.running)


@dataclass(frozen=True, slots=True)
class Fit:
    """The last fit of a name."""

    name: str
    id: str
    state: FitState
    progress: float  # in [0, 1]
    message: str
    num_examples: int
    owner: str  # host and process
    cancel_requested: bool
    started_at: datetime
    ended_at: datetime | None


class StoreUnavailable(Exception):
    """The store cannot be asked now. Its text is for the operator's log, not for a client.

    A write that raised it may have happened all the same: the database can be lost after its commit.
    """


class StoreBusy(StoreUnavailable):
    """The store is there, but others held it for too long."""


class SchemaTooNew(StoreUnavailable):
    """A newer Polyseme has changed the store; this one does not know how to read it."""


class FitRunning(Exception):
    """A live fit has this name, in this process or in another."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a fit of {name!a} is running")
        self.name = name


class FitOver(Exception):
    """The fit is not live any more: cancelled, or taken over when its heart had stopped for too long."""

    def __init__(self, name: str, cancelled: bool) -> None:
        super().__init__(f"the fit of {name!a} was {'cancelled' if cancelled else 'taken over'}")
        self.cancelled = cancelled

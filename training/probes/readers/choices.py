"""Two texts of which one is right: minimal pairs, and alternatives after a premise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.rows import table_rows

# What joins a premise and what came of it, or what it came from.
_QUESTIONS = ("결과", "원인")


@dataclass(frozen=True, slots=True)
class MinimalPair:
    """A grammatical sentence, one that differs in a point and is not, and the point."""

    good: str
    bad: str
    paradigm: str


@dataclass(frozen=True, slots=True)
class Alternatives:
    """What happened, and two things of which `right` (0 or 1) came of it, or for is_cause, led to it."""

    premise: str
    alternatives: tuple[str, str]
    is_cause: bool
    right: int


def read_minimal_pairs(path: Path) -> list[MinimalPair]:
    """A table with uid, good, bad. Raises ValueError, naming file and line."""
    return [MinimalPair(good, bad, uid) for _, (uid, good, bad) in table_rows(path, "uid", "good", "bad")]


def read_alternatives(path: Path) -> list[Alternatives]:
    """A table with label, question, premise, alt0, alt1. Raises ValueError, naming file and line."""
    found = []
    columns = ("label", "question", "premise", "alt0", "alt1")
    for where, (label, question, premise, first, second) in table_rows(path, *columns):
        if label not in ("0", "1"):
            raise ValueError(f"{where}: label: expected 0 or 1, got {label!r}")
        if question not in _QUESTIONS:
            raise ValueError(f"{where}: question: expected {' or '.join(_QUESTIONS)}, got {question!r}")
        found.append(Alternatives(premise, (first, second), question == "원인", int(label)))
    return found

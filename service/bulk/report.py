"""What became of the rows: of one shard, whose file carries it, and of all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that could not be embedded."""

    file: str
    line: int
    error: str


@dataclass(slots=True)
class Report:
    """Of one shard."""

    rows: int = 0  # good and bad
    tokens: int = 0  # that were read, boundaries not counted
    vectors: int = 0  # of each layer
    bad: list[Bad] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Raises ValueError, KeyError or TypeError for anything else."""
        fields = json.loads(text)
        return cls(fields["rows"], fields["tokens"], fields["vectors"], [Bad(**bad) for bad in fields["bad"]])


@dataclass(slots=True)
class Total:
    """Of all shards. The bad rows, of which there may be millions, are in a file."""

    rows: int = 0
    tokens: int = 0
    vectors: int = 0
    bad: int = 0

    def add(self, report: Report) -> None:
        self.rows += report.rows
        self.tokens += report.tokens
        self.vectors += report.vectors
        self.bad += len(report.bad)


def gather(reports: Iterable[Report], bad_rows: IO[str]) -> Total:
    """Return the sum of all reports, and list their bad rows: JSON, one a line."""
    total = Total()
    for report in reports:
        total.add(report)
        bad_rows.writelines(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in report.bad)
    return total


def first_bad_rows(path: Path, most: int) -> list[Bad]:
    """Return the first of those that `gather` has listed."""
    with path.open(encoding="utf-8") as file:
        return [Bad(**json.loads(line)) for line in islice(file, most)]

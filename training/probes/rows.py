"""Rows measured elsewhere, as JSON, that a report shows beside a bundle's: baselines, published anchors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from training.atomic import write_atomically
from training.probes.report import SetResult

FORMAT_VERSION = 1
ANCHORS = Path(__file__).with_name("anchors.json")
# What a probe notes beside its metrics, and may be larger than a share.
_NOTES = {"c", "num_steps", "threshold"}


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """Numbers of one kind of vectors on one set.

    layer: "" or which of several rows of these vectors; metrics: shares 0 to 1, correlations -1 to 1, by the
    set's own names; source: the command that measured them, or "cited: " and where they were read.
    """

    set: str
    vectors: str
    layer: str
    metrics: dict[str, float]
    source: str

    @property
    def column(self) -> str:
        return f"{self.vectors}, {self.layer}" if self.layer else self.vectors


def rows_of(results: Mapping[str, SetResult], vectors: str, source: str) -> list[BaselineRow]:
    """Every row of these results, `layer` its name in them."""
    return [
        BaselineRow(result.set_name, vectors, layer, row, source)
        for result in results.values()
        for layer, row in result.rows.items()
    ]


def quoted_rows_of(results: Mapping[str, SetResult], vectors: str, source: str) -> list[BaselineRow]:
    """Of each set the best row and the learned mixes: what a report of other vectors shows."""
    rows = rows_of(results, vectors, source)
    return [row for row in rows if row.layer in results[row.set].headline]


def write_rows(path: Path, rows: Iterable[BaselineRow]) -> None:
    """Whole or not at all."""
    document = {"format_version": FORMAT_VERSION, "rows": [asdict(row) for row in rows]}
    write_atomically(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def read_rows(path: Path) -> list[BaselineRow]:
    """Raises ValueError, naming the file and the row, for what `write_rows` would not have written."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format_version") != FORMAT_VERSION:
        raise ValueError(f"{path}: expected an object with format_version {FORMAT_VERSION}")
    rows = []
    for number, entry in enumerate(document.get("rows", [])):
        try:
            row = BaselineRow(**entry)
        except TypeError as error:
            raise ValueError(f"{path}: rows[{number}]: {error}") from error
        for name, value in row.metrics.items():
            if name not in _NOTES and not (isinstance(value, int | float) and -1 <= value <= 1):
                raise ValueError(f"{path}: rows[{number}]: {name}: expected -1 to 1, got {value!r}")
        rows.append(row)
    return rows

"""What a run has done, for people and for machines."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.bulk.report import first_bad_rows
from service.commands.terminal import printable

SHOWN_BAD_ROWS = 20
"""That are told one by one; all of them are in a file."""


@dataclass(frozen=True)
class Summary:
    """Of all files, those of earlier runs too; the last three are of this run."""

    out: str
    format: str
    model: str
    rows: int  # good and bad
    embedded: int
    bad: int
    bad_rows: str | None  # the file that lists them
    tokens: int  # boundaries not counted
    vectors: int  # of each layer
    files: int
    files_made: int
    seconds: float  # from the first row to the last file, without reading the inputs and the bundle
    tokens_per_s: float


NOTHING_NOW: dict[str, Any] = {"files_made": 0, "seconds": 0.0, "tokens_per_s": 0.0}
"""Of a run that finds everything done."""


def show(summary: Summary, *, as_json: bool) -> None:
    """Say what is bad, on standard error, and what was done: there too, or as_json on standard output."""
    if summary.bad_rows is not None:
        for each in first_bad_rows(Path(summary.bad_rows), SHOWN_BAD_ROWS):
            print(printable(f"{each.file}:{each.line}: {each.error}"), file=sys.stderr)
        if summary.bad > SHOWN_BAD_ROWS:
            print(f"... and {summary.bad - SHOWN_BAD_ROWS:,} more", file=sys.stderr)
    if as_json:
        print(json.dumps(asdict(summary)))  # in ASCII: the name of a file need not be UTF-8
        return
    line = f"{summary.embedded:,} rows, {summary.tokens:,} tokens in {summary.out}"
    if summary.files_made:
        line += f"; {summary.files_made} of {summary.files} files now, {summary.tokens_per_s:,.0f} tokens/s"
    else:
        line += "; nothing was left to do"
    if summary.bad:
        line += f"; {summary.bad:,} bad rows" + (f": {summary.bad_rows}" if summary.bad_rows else "")
    print(line, file=sys.stderr)

"""Lines of a file, as JSON objects, and as columns of a table; what is wrong is told by file:line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield ("FILE:LINE", the line without its end) for each line."""
    # Not splitlines(): sentences may hold U+2028 and its like.
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield f"{path}:{number}", line.rstrip("\r\n")


def json_rows(path: Path, fields: Mapping[str, type]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield ("FILE:LINE", object) for each line; each of `fields` is there, a value of its type.

    Raises ValueError, naming file and line.
    """
    for where, line in lines(path):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: expected a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{where}: expected a JSON object, got {line[:40]!r}")
        for name, kind in fields.items():
            if not isinstance(row.get(name), kind) or isinstance(row[name], bool):
                raise ValueError(f"{where}: {name}: expected {kind.__name__}, got {row.get(name)!r}")
        yield where, row


def table_rows(path: Path, *columns: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield ("FILE:LINE", the named columns) for each line after the head of a tab-separated table.

    Raises ValueError, naming file and line, for a missing column or a row of another width.
    """
    names: list[str] | None = None
    for where, line in lines(path):
        values = line.split("\t")
        if names is None:
            names = values
            missing = [column for column in columns if column not in names]
            if missing:
                raise ValueError(
                    f"{where}: expected columns {', '.join(columns)}; missing {', '.join(missing)}"
                )
            continue
        if len(values) != len(names):
            raise ValueError(f"{where}: expected {len(names)} tab-separated columns, got {len(values)}")
        yield where, tuple(values[names.index(column)] for column in columns)


def number(where: str, name: str, text: str) -> float:
    """The text as a number; raises ValueError, naming `where`."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: {name}: expected a number, got {text!r}") from None

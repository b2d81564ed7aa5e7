"""Rows of files that have one on each line: text, tab-separated columns, JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from service.body import show
from service.bulk.options import Options
from service.bulk.rows import BadRow, Row, checked, decoded
from service.bulk.sources import MAX_LINE_BYTES, Source, lines_of
from service.refusal import Refusal
from service.schemas import Text

TEXT, WORDS = "text", "words"
"""The columns that are looked for when none is named."""


def text_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield a row for each line; the column is called text."""
    for number, line in lines_of(source):
        try:
            text = decoded(line, MAX_LINE_BYTES)
        except BadRow as error:
            yield Row(number, error=str(error))
            continue
        yield checked(number, text, {TEXT: text}, len(text), options)


def tsv_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield a row for each line, but for that of the columns' names when the text's is given by its name."""
    column = options.column or TEXT
    has_names = not (column.isascii() and column.isdecimal())
    names: list[str] = []
    for number, line in lines_of(source):
        try:
            text = decoded(line, MAX_LINE_BYTES)
            cells = text.split("\t")
            if not names:
                names = cells if has_names else [f"column_{i}" for i in range(1, len(cells) + 1)]
                place = _place(source, names, column if has_names else f"column_{column}")
                if has_names:
                    continue
            if len(cells) != len(names):
                raise BadRow(f"expected {len(names)} columns between tabs, got {len(cells)}")
        except BadRow as error:
            if not names and has_names:
                raise Refusal(f"{source.name}:{number}: {error}") from None
            yield Row(number, error=str(error))
            continue
        yield checked(number, cells[place], dict(zip(names, cells, strict=True)), len(text), options)


def jsonl_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield a row for each line that is not blank."""
    for number, line in lines_of(source):
        if line is not None and not line.strip():
            continue
        try:
            whole = decoded(line, MAX_LINE_BYTES)
            fields = _object(whole)
            text = _text(fields, options.column)
        except BadRow as error:
            yield Row(number, error=str(error))
            continue
        yield checked(number, text, fields, len(whole), options)


def _place(source: Source, names: Sequence[str], column: str) -> int:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(f"{source.name}:1: expected every column's name once, got {show(twice)} twice")
    if column not in names:
        came = ", ".join(map(show, names))
        raise Refusal(f"{source.name}: expected a column {show(column)}, got {came}: name it with --column")
    return names.index(column)


def _object(line: str) -> dict[str, Any]:
    try:
        fields = orjson.loads(line)
        orjson.dumps(fields)  # which goes less deep, and columns are written with it
    except orjson.JSONDecodeError as error:
        raise BadRow(f"expected JSON, but: {error.msg} at column {error.colno}") from None
    except orjson.JSONEncodeError:
        raise BadRow("expected JSON of at most 254 levels, got more") from None
    if not isinstance(fields, dict):
        raise BadRow(f"expected an object, got {show(fields)}")
    return fields


def _text(fields: dict[str, Any], column: str | None) -> Text:
    name = column or (WORDS if TEXT not in fields and WORDS in fields else TEXT)
    if name not in fields:
        raise BadRow(f"expected a field {show(name)}, got none")
    text = fields[name]
    if isinstance(text, list) and text and all(isinstance(word, str) for word in text):
        return text
    if not isinstance(text, str):
        raise BadRow(f"expected a string or a list of words in {show(name)}, got {show(text)}")
    return text

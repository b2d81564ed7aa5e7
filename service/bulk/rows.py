"""The rows of an input, good and bad, in order: what every format's reader yields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.bulk.options import Options
from service.bulk.sources import Source
from service.errors import ServiceError
from service.inputs import check_inputs
from service.schemas import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One sentence or document of an input."""

    line: int  # where it begins, from 1; in Parquet the number of the row
    text: Text = ""
    kept: Any = field(default_factory=dict)  # the input's columns: by name, or of Parquet a batch of one row
    error: str | None = None  # why there is no text that can be embedded
    kept_bytes: int = 0  # of the columns, about

    @property
    def num_characters(self) -> int:
        """At least 1, so that no number of bad rows is nothing."""
        return max(1, len(self.text) if isinstance(self.text, str) else sum(map(len, self.text)))


class BadRow(ValueError):
    """Why a row cannot be read: what was expected and what came."""


def read_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield every row. Raises Refusal when the whole input cannot be read, OSError."""
    match source.format:
        case "parquet":
            from service.bulk.parquet_rows import parquet_rows

            return parquet_rows(source, options)
        case "conllu":
            from service.bulk.conllu_rows import conllu_rows

            return conllu_rows(source, options)
    from service.bulk.line_rows import jsonl_rows, text_rows, tsv_rows

    return {"text": text_rows, "tsv": tsv_rows, "jsonl": jsonl_rows}[source.format](source, options)


def checked(line: int, text: Text, kept: Mapping[str, Any] | Any, kept_bytes: int, options: Options) -> Row:
    """Return the row, or a bad one when the text cannot be embedded."""
    if isinstance(text, str) and options.is_pretokenized:
        text = text.split()
    try:
        check_inputs([text], 1, options.max_characters)
    except ServiceError as error:
        place = (error.where or "").removeprefix("inputs[0]").strip("[]")
        return Row(line, error=f"word {place}: {error.message}" if place else error.message)
    return Row(line, text, kept, kept_bytes=kept_bytes) if options.keeps_columns else Row(line, text)


def decoded(line: bytes | None, limit_bytes: int) -> str:
    """Return a line's text. Raises BadRow."""
    if line is None:
        raise BadRow(f"expected a line of less than {limit_bytes} bytes, got a longer one")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow(
            f"expected UTF-8, got byte 0x{line[error.start]:02x} at byte {error.start + 1}"
        ) from None

"""Labelled examples from files: JSON lines, TSV, CoNLL-U. What is wrong is told with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from model.tasks.task import Kind
from service.body import parse_json
from service.errors import ErrorType, ServiceError
from service.tasks.examples import Examples, Limits
from service.tasks.fit_flags import CONLLU_COLUMNS
from service.tasks.schemas import EXAMPLE_OF, ClassifyExample, Example, SenseExample, TagExample

Lines = Iterable[tuple[int, str]]
Placed = Iterator[tuple[int, Example]]
"""Examples, each with the line that it begins on."""


class FileError(ValueError):
    """A file that cannot be learned from: its name, the line, what was expected and what came."""


def read_examples(path: Path, kind: Kind, column: str) -> Examples:
    """Return the file's examples; their places are FILE:LINE. Raises FileError, OSError.

    column: of a CoNLL-U file, which holds the labels.
    """
    examples = Examples(kind, Limits())
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(file, start=1))
            for number, example in _read(path, kind, column, lines):
                examples.add(example, f"{path}:{number}")
    except UnicodeDecodeError as error:
        came = f"byte 0x{error.object[error.start]:02x}"
        raise FileError(f"{path}: expected UTF-8, got {came}") from None
    except ServiceError as error:
        raise located(error) from None
    return examples


def located(error: ServiceError) -> FileError:
    """Return what is wrong with an example as FILE:LINE: FIELD: MESSAGE."""
    found = re.fullmatch(r"(.*:\d+)\.?(.*)", error.where or "")
    place, field = found.groups() if found else (error.where, "")
    return FileError(": ".join(part for part in (place, field, error.message) if part))


def _read(path: Path, kind: Kind, column: str, lines: Lines) -> Placed:
    match path.suffix, kind:
        case ".jsonl", _:
            return _json_lines(path, lines, kind)
        case ".tsv", "tag":
            return _tagged(_columns(path, lines, (2,), "WORD and LABEL"))
        case ".tsv", "classify":
            return _classified(path, lines)
        case ".tsv", _:
            return _marked(path, lines)
        case ".conllu", "tag":
            return _tagged(_conllu(path, lines, CONLLU_COLUMNS.index(column)))
        case ".conllu", _:
            raise FileError(f"{path}: expected .jsonl or .tsv for {kind}, got CoNLL-U, which is for tag")
    raise FileError(f"{path}: expected a name that ends with .jsonl, .tsv or .conllu, got {path.suffix!r}")


def _json_lines(path: Path, lines: Lines, kind: Kind) -> Placed:
    for number, line in lines:
        if line.strip():
            try:
                yield number, parse_json(line.encode("utf-8"), EXAMPLE_OF[kind])
            except ServiceError as error:
                where = ".".join(part for part in (f"{path}:{number}", error.where) if part)
                raise ServiceError(error.type, error.message, where) from None


def _classified(path: Path, lines: Lines) -> Placed:
    for number, cells in _columns(path, lines, (2,), "TEXT and LABEL"):
        if cells:
            yield number, ClassifyExample(text=cells[0], label=cells[1])


def _marked(path: Path, lines: Lines) -> Placed:
    for number, cells in _columns(path, lines, (4, 5), "TEXT, START, END, LABEL and perhaps WORD"):
        if cells:
            text, start, end, label, *word = cells
            for name, value in (("start", start), ("end", end)):
                if not (value.isascii() and value.isdecimal() and len(value) < 10):
                    raise _wrong(path, number, f"expected a whole number, got {value!r}", name)
            yield (
                number,
                SenseExample(
                    text=text, start=int(start), end=int(end), label=label, word=word[0] if word else None
                ),
            )


def _tagged(rows: Iterator[tuple[int, list[str]]]) -> Placed:
    """Gather words until an empty row; the line of a sentence is that of its first word."""
    words: list[str] = []
    labels: list[str] = []
    first = 0
    for number, cells in rows:
        if cells:
            first = first if words else number
            words.append(cells[0])
            labels.append(cells[1])
        elif words:
            yield first, TagExample(words=words, labels=labels)
            words, labels = [], []
    if words:
        yield first, TagExample(words=words, labels=labels)


def _columns(
    path: Path, lines: Lines, counts: tuple[int, ...], expected: str
) -> Iterator[tuple[int, list[str]]]:
    """Yield each line's cells; none for an empty line."""
    for number, line in lines:
        cells = line.split("\t") if line.strip() else []
        if cells and len(cells) not in counts:
            raise _wrong(path, number, f"expected {expected} between tabs, got {len(cells)} columns")
        yield number, cells


def _conllu(path: Path, lines: Lines, column: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the form and the label of each word; comments, ranges (1-2) and empty nodes (1.1) are none."""
    for number, line in lines:
        if line.startswith("#"):
            continue
        cells = line.split("\t") if line.strip() else []
        if not cells:
            yield number, []
            continue
        if len(cells) != len(CONLLU_COLUMNS):
            raise _wrong(
                path, number, f"expected {len(CONLLU_COLUMNS)} columns between tabs, got {len(cells)}"
            )
        if cells[0].isdecimal():
            yield number, [cells[1], cells[column]]


def _wrong(path: Path, number: int, message: str, field: str = "") -> ServiceError:
    where = f"{path}:{number}.{field}" if field else f"{path}:{number}"
    return ServiceError(ErrorType.invalid_request, message, where)

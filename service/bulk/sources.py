"""The inputs of a run as files: what form each has, and its lines, whether it is compressed or not."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import lzma
import os
import shutil
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from service.bulk.options import INPUT_FORMATS, InputFormat
from service.refusal import Refusal

STANDARD_INPUT = "-"

MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is a bad row, and is not held in memory."""

WITHOUT_COLUMNS: Collection[InputFormat] = ("text", "conllu")

_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


@dataclass(frozen=True)
class Source:
    """One input."""

    name: str  # as it was given
    path: Path  # where its bytes are
    format: InputFormat


def open_sources(
    inputs: Sequence[str], given: InputFormat | None, column: str | None, folder: Path
) -> list[Source]:
    """Return the inputs. All are read more than once: what comes from a pipe is kept in `folder` first.

    column: of the text, if it was named.

    Raises Refusal, OSError.
    """
    if inputs.count(STANDARD_INPUT) > 1:
        raise Refusal("INPUT: expected - once, got it twice")
    if STANDARD_INPUT in inputs and sys.stdin is None:
        raise Refusal("INPUT: expected standard input to be open, got it closed")
    # All of them are looked at before a pipe of hours is read.
    formats = [given or _format_of(name) for name in inputs]
    for name, format_ in zip(inputs, formats, strict=True):
        if column is not None and format_ in WITHOUT_COLUMNS:
            raise Refusal(
                f"--column: expected inputs with columns, got {_readable(name)}, which is {format_}"
            )
        if name != STANDARD_INPUT and not Path(name).is_fifo():
            with Path(name).open("rb"):
                pass
    return [
        Source(_readable(name), _rereadable(name, folder / str(i)), format_)
        for i, (name, format_) in enumerate(zip(inputs, formats, strict=True))
    ]


def sha256_of(source: Source) -> str:
    with source.path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines_of(source: Source) -> Iterator[tuple[int, bytes | None]]:
    """Yield every line's number, from 1, and its bytes without its end; None when it is too long to be read.

    Raises Refusal for a compressed file that is damaged, OSError.
    """
    with _whole(source), _opened(source.path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            is_cut = len(line) == MAX_LINE_BYTES and not line.endswith(b"\n")
            while is_cut and (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, None if is_cut else line.rstrip(b"\r\n")


def _opened(path: Path) -> IO[bytes]:
    """Open a file, or what is compressed in it: its first bytes say so, whatever its name."""
    with path.open("rb") as file:
        head = file.read(len(_XZ))
    if head.startswith(_GZIP):
        return gzip.open(path)  # type: ignore[return-value]
    return lzma.open(path) if head == _XZ else path.open("rb")


@contextmanager
def _whole(source: Source) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise Refusal(
            f"{source.name}: expected a whole compressed file, got a damaged one: {error}"
        ) from None


def _format_of(name: str) -> InputFormat:
    if name == STANDARD_INPUT:
        raise Refusal("--input-format: expected it beside standard input, got none")
    path = Path(name)
    suffix = Path(path.stem).suffix if path.suffix in (".gz", ".xz") else path.suffix
    if suffix not in INPUT_FORMATS:
        expected = f"{', '.join(list(INPUT_FORMATS)[:-1])} or {list(INPUT_FORMATS)[-1]}"
        raise Refusal(
            f"{_readable(name)}: expected a name that ends with {expected}, got {suffix!r}: "
            "--input-format says what it is"
        )
    return INPUT_FORMATS[suffix]


def _readable(name: str) -> str:
    """Return a file's name as text that can be written: one need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "replace")


def _rereadable(name: str, copy: Path) -> Path:
    """Return where an input can be read again: the file itself, or the copy of what a pipe gives."""
    path = Path(name)
    if name != STANDARD_INPUT and not path.is_fifo():
        return path
    with copy.open("xb") as file:
        if name == STANDARD_INPUT:
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with path.open("rb") as pipe:
                shutil.copyfileobj(pipe, file)
    return copy

"""One file of the output: whole under its name, or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

from service.bulk.encoder import Window
from service.bulk.options import OutputFormat
from service.bulk.plan import Shard
from service.bulk.report import Bad, Report
from service.choices import DType, Pool
from service.replies.answers import Answer, Heading
from service.schemas import Text

PARTIAL = ".partial"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A row with its vectors."""

    index: int  # of the row, in its shard
    number: int  # over all inputs, from 0
    line: int
    text: Text
    answer: Answer


class Writer(Protocol):
    """A file of one format, while it is written."""

    def add(self, rows: Sequence[Embedded], kept: Any) -> None:
        """Take in the next rows, and those of the input's columns (a pyarrow.Table; None when they are not
        kept)."""
        ...

    def finish(self, report: Report) -> None:
        """Write the rest, and close the file."""
        ...

    def discard(self) -> None:
        """Close the file, which is not finished and will be removed. May be called again."""
        ...


@dataclass(frozen=True)
class Output:
    """Where the shards of a run go, and in which form. Small: it travels to every worker."""

    folder: Path  # absolute
    format: OutputFormat
    heading: Heading
    pool: Pool
    dtype: DType
    keeps_sentences: bool

    def path(self, shard: Shard) -> Path:
        return self.folder / f"part-{shard.number:06}.{self.format}"

    def report_of(self, shard: Shard) -> Report | None:
        """Return the report of a finished shard; None when it is still to be made, or cannot be read."""
        path = self.path(shard)
        if not path.exists():
            return None
        try:
            report: Report = self._module().read_report(path)
        # pyarrow's are ValueErrors; numpy's of an empty file is an EOFError.
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
            return None
        return report

    def writer(self, path: Path, file: str, columns: Any) -> Writer:
        """Begin a file at `path` with rows of the input `file`; columns: the schema of what is kept."""
        writer: Writer = self._module().Writer(self, path, file, columns)
        return writer

    def _module(self) -> Any:
        match self.format:
            case "parquet":
                from service.bulk import parquet_shard

                return parquet_shard
            case "npz":
                from service.bulk import npz_shard

                return npz_shard
        from service.bulk import hdf5_shard

        return hdf5_shard


class ShardFile:
    """A shard on its way into its file. The methods run one after another, on whatever thread; what raises
    leaves nothing behind."""

    def __init__(self, output: Output, shard: Shard, file: str, kept: Any) -> None:
        """file: the input's name; kept: the input's columns of the good rows, in order (None: not kept)."""
        self._output = output
        self._shard = shard
        self._file = file
        self._kept = kept
        self._num_good = 0  # rows of `kept` that have passed
        self.report = Report()
        path = output.path(shard)
        self._partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        self._writer: Writer | None = None

    def add(self, window: Window) -> None:
        """Write the rows of the next window. Raises OSError."""
        with self._or_nothing():
            self._add(window)

    def commit(self) -> None:
        """Give the file its name, once it is on the disk. Raises OSError."""
        with self._or_nothing():
            self._opened().finish(self.report)
            put_in_place(self._partial, self._output.path(self._shard))

    def discard(self) -> None:
        """Leave nothing of it, unless it is committed."""
        if self._writer is not None:
            with suppress(OSError):  # what could not be written cannot be ended well either
                self._writer.discard()
        self._partial.unlink(missing_ok=True)

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.discard()
            raise

    def _add(self, window: Window) -> None:
        embedded, of_kept = [], []
        for i, (row, outcome) in enumerate(zip(window.rows, window.outcomes, strict=True), window.first):
            if isinstance(outcome, str):
                self.report.bad.append(Bad(self._file, row.line, outcome))
            else:
                embedded.append(Embedded(i, self._shard.first_row + i, row.line, row.text, outcome))
                of_kept.append(self._num_good)
            self._num_good += row.error is None
        self.report.rows += len(window.rows)
        self.report.tokens += window.num_tokens
        self.report.vectors += sum(each.answer.rows.shape[-2] for each in embedded)
        self._opened().add(embedded, None if self._kept is None else self._kept.take(of_kept))

    def _opened(self) -> Writer:
        if self._writer is None:
            schema = None if self._kept is None else self._kept.schema
            self._writer = self._output.writer(self._partial, self._file, schema)
        return self._writer


def put_in_place(partial: Path, path: Path) -> None:
    """Give a file its name, in place of one that has it, once all of it is on the disk."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomically(path: Path, text: str) -> None:
    """Leave the old file or the whole new one under `path`."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        partial.write_text(text, encoding="utf-8")
        put_in_place(partial, path)
    finally:
        partial.unlink(missing_ok=True)

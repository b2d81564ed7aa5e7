"""A shard as .npz: the arrays of the service's reply, and where each row was. All of it is held until its
end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.lib.format

from service.bulk.report import Report
from service.bulk.shard_file import Embedded, Output
from service.replies.answers import MarkName
from service.replies.npz import npz_parts

REPORT = "report"


def read_report(path: Path) -> Report:
    with np.load(path) as arrays:
        return Report.from_json(str(arrays[REPORT]))


class Writer:
    """See shard_file.Writer."""

    def __init__(self, output: Output, path: Path, file: str, columns: Any) -> None:
        self._output = output
        self._path = path
        self._file = file
        self._rows: list[Embedded] = []

    def add(self, rows: Sequence[Embedded], kept: Any) -> None:
        self._rows += rows

    def finish(self, report: Report) -> None:
        answers = [row.answer for row in self._rows]
        with self._path.open("xb") as file:
            if answers:
                marks: MarkName | None = "words" if self._output.pool == "word" else None
                file.writelines(
                    npz_parts(self._output.heading, marks, [row.text for row in self._rows], answers)
                )
        with ZipFile(self._path, "a") as archive:
            for name, array in {
                "file": np.array(self._file),
                "lines": np.array([row.line for row in self._rows], dtype=np.int64),
                REPORT: np.array(report.to_json()),
            }.items():
                # As in the reply: no date, so that the same rows are the same bytes.
                with archive.open(ZipInfo(f"{name}.npy"), "w") as entry:
                    numpy.lib.format.write_array(entry, array, allow_pickle=False)

    def discard(self) -> None:
        self._rows.clear()

"""HDF5 in the layout of AllenNLP's `elmo` command: a dataset for each sentence under its number, float32
(T, D), or (L, T, D) with every layer; and "sentence_to_index", which is JSON from the sentence to its key.

A shard is held in memory until its end.

Source: allennlp/commands/elmo.py of AllenNLP 0.9, ElmoEmbedder.embed_file.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from service.bulk.report import Report
from service.bulk.shard_file import Embedded, Output

SENTENCES, REPORT = "sentence_to_index", "report"
"""Datasets beside those of the sentences; the second only in a shard."""

SUMMARY = "polyseme"
"""Attribute of a file that all shards went into."""


def read_report(path: Path) -> Report:
    import h5py

    with h5py.File(path) as file:
        return Report.from_json(file[REPORT][0].decode())


class Writer:
    """See shard_file.Writer."""

    def __init__(self, output: Output, path: Path, file: str, columns: Any) -> None:
        import h5py

        self._path = path
        self._keeps_sentences = output.keeps_sentences
        self._keys: dict[str, str] = {}
        # In memory, because HDF5 cannot be left in peace when a disk is full: every object of the file tries
        # again to be written, until the process ends.
        self._file = h5py.File(path, "w", driver="core", backing_store=False)

    def add(self, rows: Sequence[Embedded], kept: Any) -> None:
        for row in rows:
            key = str(row.number)
            self._file.create_dataset(key, data=row.answer.rows)
            if self._keeps_sentences:
                self._keys[row.text if isinstance(row.text, str) else " ".join(row.text)] = key

    def finish(self, report: Report) -> None:
        _write_text(self._file, REPORT, report.to_json())
        if self._keeps_sentences:
            _write_text(self._file, SENTENCES, json.dumps(self._keys))
        self._file.flush()
        self._path.write_bytes(self._file.id.get_file_image())
        self._file.close()

    def discard(self) -> None:
        self._file.close()


def join(shards: Iterable[Path], path: Path, summary: str) -> None:
    """Write one file of all shards. Of a sentence that stands there twice the last key counts, as in
    AllenNLP.

    summary: kept as an attribute, which `read_summary` returns. Raises OSError.
    """
    import h5py

    shards = list(shards)
    num_bytes = sum(shard.stat().st_size for shard in shards)
    if shutil.disk_usage(path.parent).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    keys: dict[str, str] = {}
    has_sentences = False
    with h5py.File(path, "x") as joined:
        for shard in shards:
            with h5py.File(shard) as part:
                for name in part:
                    if name == SENTENCES:
                        keys.update(json.loads(part[name][0]))
                        has_sentences = True
                    elif name != REPORT:
                        part.copy(name, joined)
        if has_sentences:
            _write_text(joined, SENTENCES, json.dumps(keys))
        joined.attrs[SUMMARY] = summary


def read_summary(path: Path) -> str | None:
    """Return what `join` was given; None for a file of another make, or no HDF5. Raises OSError."""
    import h5py

    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        summary = file.attrs.get(SUMMARY)
    return summary if isinstance(summary, str) else None


def _write_text(file: Any, name: str, text: str) -> None:
    import h5py

    file.create_dataset(name, (1,), dtype=h5py.string_dtype())[0] = text

"""The folder that a run writes into: its manifest, which says of what run it is, and a lock while one writes.

For HDF5, which is one file in the end, the folder stands beside it until all of its parts are there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service.bulk.options import BAD_ROWS_FILE, Options
from service.bulk.report import Report, Total, gather
from service.bulk.shard_file import PARTIAL, put_in_place, write_atomically
from service.refusal import Refusal

# Readers of a folder of Parquet files pass over names that begin so.
MANIFEST_FILE, LOCK_FILE = "_manifest.json", "_lock"

FORMAT_VERSION = 1

PARTS = ".parts"
"""Added to the name of a file that is to be made of parts."""

Fingerprint = Mapping[str, Any]
"""What decides every byte of the output: by the flag that it depends on."""


class Folder:
    """Where the shards of one run are."""

    def __init__(self, options: Options) -> None:
        """Raises Refusal."""
        self.out = options.out
        self._is_file = options.format == "hdf5"
        if self._is_file and not self.out.name:
            raise Refusal(f"{self.out}: expected the name of a file, got a folder's")
        self.path = options.out.with_name(options.out.name + PARTS) if self._is_file else options.out
        self.path = self.path.absolute()

    @property
    def bad_rows_path(self) -> Path:
        if self._is_file:
            return self.out.with_name(f"{self.out.name}.{BAD_ROWS_FILE.removeprefix('_')}")
        return self.out / BAD_ROWS_FILE

    def finished(self, fingerprint: Fingerprint) -> dict[str, Any] | None:
        """Return the summary of a run that is over, when OUT is one file; None when there may be more to do.

        Raises Refusal when something else stands there, OSError.
        """
        if not self._is_file and self.out.exists() and not self.out.is_dir():
            raise Refusal(f"{self.out}: expected a folder, or a name that is free, got a file")
        self._check(fingerprint)
        if not self._is_file:
            return None
        if not self.out.exists():
            return None
        from service.bulk.hdf5_shard import read_summary

        text = read_summary(self.out) if self.out.is_file() else None
        if text is None:
            raise Refusal(f"{self.out}: expected a name that is free, got one that is taken")
        summary = json.loads(text)
        if summary.pop("fingerprint") != digest(fingerprint):
            raise Refusal(
                f"{self.out}: expected the vectors of the same inputs and options, got those of others: "
                "choose another OUT, or remove this one"
            )
        if self.path.exists():  # a kill came between the last two steps
            self._remove_parts()
        return dict(summary)

    @contextmanager
    def held(self, fingerprint: Fingerprint) -> Iterator[None]:
        """Make the folder, or take up the run that it is of, and let nobody else write there meanwhile.

        Raises Refusal, OSError.
        """
        self._check(fingerprint)
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Refusal(f"{self.path}: expected nobody to write there, but another run does") from None
            self._check(fingerprint)  # another may have begun just now
            for left in self.path.glob(f".*{PARTIAL}"):
                left.unlink()
            manifest = {"format_version": FORMAT_VERSION, **fingerprint}
            write_atomically(
                self.path / MANIFEST_FILE, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n"
            )
            yield

    def gather(self, reports: Iterable[Report]) -> Total:
        """Return the sum of all shards' reports, and list their bad rows in a file, if there are any."""
        partial = self.path / f".{BAD_ROWS_FILE}{PARTIAL}"
        with partial.open("w", encoding="utf-8") as file:
            total = gather(reports, file)
        if total.bad:
            put_in_place(partial, self.bad_rows_path)
        else:
            partial.unlink()
            self.bad_rows_path.unlink(missing_ok=True)
        return total

    def join(self, parts: Sequence[Path], fingerprint: Fingerprint, summary: Mapping[str, Any]) -> None:
        """Make OUT, one file, of its parts, and remove these. Raises OSError."""
        from service.bulk.hdf5_shard import join

        partial = self.path / f".joined{PARTIAL}"
        join(parts, partial, json.dumps({"fingerprint": digest(fingerprint), **summary}))
        put_in_place(partial, self.out)
        self._remove_parts()

    def _remove_parts(self) -> None:
        shutil.rmtree(self.path)

    def _check(self, fingerprint: Fingerprint) -> None:
        if not self.path.exists():
            return
        path = self.path / MANIFEST_FILE
        if not path.exists():
            ours = (LOCK_FILE, PARTIAL)  # of a run that was killed before it had a manifest
            others = [name for name in os.listdir(self.path) if not name.endswith(ours)]
            if others:
                came = f"one with {others[0]!r}"
                raise Refusal(f"{self.path}: expected an empty folder or one of this command, got {came}")
            return
        try:
            manifest = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError):  # no JSON, no object
            raise Refusal(f"{path}: expected the manifest of this command, got something else") from None
        there = {"format_version": manifest.pop("format_version", None), **manifest}
        wanted = {"format_version": FORMAT_VERSION, **json.loads(json.dumps(fingerprint))}
        for name in wanted:
            if there.get(name) != wanted[name]:
                came = _difference(name, there.get(name), wanted[name])
                raise Refusal(
                    f"{self.path}: expected a run of the same inputs and options, got one with {came}: "
                    "choose another OUT, or remove this one"
                )


def digest(fingerprint: Fingerprint) -> str:
    """Return a hash of a fingerprint, for where it is too long."""
    return hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()


def _difference(name: str, there: Any, wanted: Any) -> str:
    """Return in words what differs; of long values only that they do."""
    came, now = json.dumps(there, ensure_ascii=False), json.dumps(wanted, ensure_ascii=False)
    return f"{name} {came}, not {now}" if len(came) + len(now) < 120 else f"another {name}"

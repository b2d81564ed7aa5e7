"""How much memory a process has."""

from __future__ import annotations

import os
from pathlib import Path

from service.resident import resident_bytes


def test_pages_are_bytes(tmp_path: Path) -> None:
    statm = tmp_path / "statm"
    statm.write_text("70000 2000 900 1 0 30000 0\n")
    assert resident_bytes(statm) == 2000 * os.sysconf("SC_PAGE_SIZE")


def test_without_proc_it_is_the_most_that_there_was(tmp_path: Path) -> None:
    assert resident_bytes(tmp_path / "none") > 10_000_000

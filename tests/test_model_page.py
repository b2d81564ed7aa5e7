"""The programs in docs/model.md print what stands below them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


def test_every_program_is_followed_by_what_it_prints() -> None:
    assert len(PROGRAMS) == PAGE.count("```python") == 3


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=["step", "reach", "serving"])
def test_a_program_prints_what_is_shown(program: str, printed: str) -> None:
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == printed


def test_the_files_that_it_names_are_there() -> None:
    names = re.findall(r"\(?`((?:model|training|service|tests)/[\w/.]*)`", PAGE)
    assert len(names) > 5
    for name in names:
        assert (ROOT / name).exists(), name

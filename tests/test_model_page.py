"""The programs in docs/model.md print what stands below them."""

from __future__ import annotations

import re

import pytest

from tests.documents import ROOT, Block, Page

PAGE = Page("docs/model.md")
PROGRAMS = PAGE.blocks_of("python")


def test_every_program_is_followed_by_what_it_prints() -> None:
    assert len([program for program in PROGRAMS if program.shown]) == PAGE.text.count("```python") == 3


@pytest.mark.parametrize("program", PROGRAMS, ids=["step", "reach", "serving"])
def test_a_program_prints_what_is_shown(program: Block) -> None:
    PAGE.expect(program, program.run())


def test_the_files_that_it_names_are_there() -> None:
    names = re.findall(r"\(?`((?:model|training|service|tests)/[\w/.]*)`", PAGE.text)
    assert len(names) > 5
    for name in names:
        assert (ROOT / name).exists(), name

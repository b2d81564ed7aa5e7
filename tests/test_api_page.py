"""The examples in docs/api.md print what stands below them, and its tables are the program's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.errors import ErrorType
from tests.documents import Block, Page, served

PAGE = Page("docs/api.md")
BLOCKS = PAGE.blocks_of("sh", "python")
TASKS = [block for block in BLOCKS if "v1/tasks/boat-or-pear" in block.code or "v1/tasks/mine" in block.code]
KEYS = [block for block in BLOCKS if "reader-0123456789" in block.code]
OTHERS = [block for block in BLOCKS if block not in TASKS + KEYS]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served("--tasks-path", tmp_path_factory.mktemp("tasks") / "tasks.sqlite") as address:
        yield address


def test_every_example_is_followed_by_what_it_prints() -> None:
    assert (len(OTHERS), len(TASKS), len(KEYS)) == (8, 2, 1)
    assert [block.code for block in BLOCKS if not block.shown] == []


@pytest.mark.parametrize("block", OTHERS, ids=[block.code.splitlines()[0][:60] for block in OTHERS])
def test_an_example(address: str, block: Block) -> None:
    PAGE.expect(block, block.run(address))


def test_tasks(address: str) -> None:
    """One after the other: what the first has learned, the second asks for."""
    for block in TASKS:
        PAGE.expect(block, block.run(address))


def test_keys(tmp_path: Path) -> None:
    (block,) = KEYS
    keys = ("--api-keys", "reader-0123456789", "--admin-keys", "writer-0123456789")
    with served(*keys, "--tasks-path", tmp_path / "tasks.sqlite") as address:
        PAGE.expect(block, block.run(address))


def test_every_error_is_listed_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.*) \|$", PAGE.text, re.MULTILINE)
    listed = {name: int(status) for status, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert listed == {type.name: type.status for type in ErrorType}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.text):
        assert (Path(__file__).resolve().parent.parent / "docs" / target).exists(), target

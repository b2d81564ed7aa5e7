"""docs/operating.md agrees with the program: what its blocks print, its defaults, statuses and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from service.errors import ErrorType
from service.ray_app import Scaling, read_arguments
from service.settings import Settings
from tests.documents import ROOT, Block, Page, served

PAGE = Page("docs/operating.md")
NUMBERS = Page("docs/numbers.md")
COMMANDS = PAGE.blocks_of("sh")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.mark.parametrize("block", COMMANDS, ids=["limit", "metrics"])
def test_a_command_prints_what_is_shown(address: str, block: Block) -> None:
    assert block.run(address) == block.shown


def test_defaults_are_the_program_s() -> None:
    stated = re.findall(r"`--([a-z-]+)` \(?([\d,]+)", PAGE.text)
    assert len(stated) > 14
    for flag, number in stated:
        name = flag.replace("-", "_")
        assert getattr(Settings(), name) == int(number.replace(",", "")), flag


def test_flags_are_settings() -> None:
    for flag in re.findall(r"`--([a-z][a-z-]+)", PAGE.text):
        assert hasattr(Settings(), flag.replace("-", "_")), flag


def test_errors_have_the_statuses_that_are_stated() -> None:
    stated = re.findall(r"(\d{3}) `(\w+)`", PAGE.text)
    assert len(stated) > 14
    for status, name in stated:
        assert ErrorType[name].status == int(status), name


def test_arguments_of_ray_are_taken() -> None:
    (line,) = re.findall(r"^\$ serve run service\.ray_app:app (.*?) *#", PAGE.text, re.MULTILINE)
    _, scaling = read_arguments({}, dict(argument.split("=") for argument in line.split()))
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 8)
    for text in (
        f"| {Scaling().min_replicas}, {Scaling().max_replicas} |",
        f"| {Scaling().queued_tokens} tokens ",
        f"| {Scaling().upscale_delay_s} s and {Scaling().downscale_delay_s} s ",
    ):
        assert text in PAGE.text


def test_numbers_are_those_that_were_measured() -> None:
    """What is measured is measured once, by `make bench`."""
    numbers = re.findall(r"\d+,\d{3}|\d+(?= MB)", PAGE.text.partition("## How large")[2])
    settings = {f"{Settings().queue_tokens:,}", "20,000"}
    assert len(numbers) > 8
    for number in set(numbers) - settings:
        assert re.search(rf"(?<![\d,]){number}(?!\d)", NUMBERS.text), number


def test_the_files_that_it_names_are_there() -> None:
    names = set(re.findall(r"deploy/[\w-]+\.\w+", PAGE.text))
    assert len(names) == 4
    for name in names:
        assert (ROOT / name).exists(), name

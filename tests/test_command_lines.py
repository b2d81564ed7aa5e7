"""Both programs explain all that they take, start fast, and end as their help pages say."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.command_line import parser
from tests.documents import ROOT, Block, Page
from tests.patience import PATIENCE_S
from training.__main__ import build_parser

PAGE = Page("docs/command_line.md")
POLYSEME = [sys.executable, "-m", "service"]


def walked(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from walked(each)


PARSERS = {each.prog: each for top in (parser(), build_parser()) for each in walked(top)}


def arguments(of: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what may be given, but for the choice of a command."""
    return [action for action in of._actions if not isinstance(action, argparse._SubParsersAction)]


def test_these_are_the_commands() -> None:
    own = {name.removeprefix("polyseme ") for name in PARSERS if name.startswith("polyseme ")}
    tasks = {f"tasks {action}" for action in ("list", "show", "delete", "export", "import")}
    assert own == {"serve", "embed", "fit", "tasks", "score", "inspect", "completion"} | tasks


@pytest.mark.parametrize("name", PARSERS)
def test_all_that_can_be_given_is_explained(name: str) -> None:
    for action in arguments(PARSERS[name]):
        assert action.help, action.dest
        is_shown = action.default in (None, False, [], argparse.SUPPRESS) or "default" in action.help
        assert is_shown, f"{action.dest}: the default {action.default!r} is not told"


@pytest.mark.parametrize("name", PARSERS)
def test_every_page_says_what_it_does_and_how_it_ends(name: str) -> None:
    page = PARSERS[name]
    assert page.description
    epilog = " ".join((page.epilog or "").split())
    assert "Exit status: " in epilog
    if not any(isinstance(action, argparse._SubParsersAction) for action in page._actions):
        assert re.search(r"Exit status: 0.*\b2\b", epilog)


@pytest.mark.parametrize("name", [name for name in PARSERS if " " in name])
def test_every_command_stands_in_the_documentation(name: str) -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = " ".join(" ".join(page.read_text(encoding="utf-8").split()) for page in pages)
    assert re.search(rf"{re.escape(name)}\b", text), name


@pytest.mark.parametrize("block", PAGE.blocks_of("sh"), ids=["score", "tasks", "inspect"])
def test_an_example_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    PAGE.expect(block, block.run(runs=tmp_path))


def test_help_waits_for_nothing_that_it_does_not_need() -> None:
    code = "import sys; from service.command_line import parser; parser(); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    slow = {
        "numpy",
        "pydantic",
        "fastapi",
        "onnxruntime",
        "sqlalchemy",
        "scipy",
        "pyarrow",
        "ray",
        "argcomplete",
    }
    assert slow & set(run.stdout.split()) == set()


def test_an_interrupted_command_ends_with_130_and_no_trace(tmp_path: Path) -> None:
    sentences = tmp_path / "sentences"
    os.mkfifo(sentences)
    command = [*POLYSEME, "score", "--file", str(sentences)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with sentences.open("wb"):  # opened as soon as the command reads it
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.stdout.read(), process.stderr.read()) == (b"", b"")


PERPLEXITY = ("training", "perplexity", "model/pretrained/enko", "tests/data/heldout.ko.txt")


@pytest.mark.parametrize("command", [("service", "inspect"), PERPLEXITY], ids=["polyseme", "polyseme-train"])
def test_a_command_whose_output_nobody_reads_ends_with_141_and_no_trace(command: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE_S,
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, b"")


def test_a_full_disk_is_told_in_a_line() -> None:
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*POLYSEME, "inspect"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE_S
        )
    assert (run.returncode, run.stderr) == (2, b"polyseme: No space left on device\n")

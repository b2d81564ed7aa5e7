"""The README's commands, run as they stand, give what stands below them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT, Block, Page, served

README = Page("README.md")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


@pytest.mark.parametrize("text", ["approved the loan", "/v1/cloze "])
def test_curl_gives_the_reply_that_is_shown(address: str, text: str) -> None:
    """Each block of commands is followed by what it prints."""
    block = README.block_with(text)
    README.expect(block, block.run(address))


def test_a_sense_is_learned_and_outlives_the_server(tmp_path: Path) -> None:
    fit, predict = README.block_with("$TASK/fit?kind"), README.block_with("$TASK/predict")
    flags = ("--tasks-path", tmp_path / "tasks.sqlite")
    with served(*flags) as address:
        README.expect(fit, fit.run(address))
        README.expect(predict, predict.run(address))
    with served(*flags) as address:
        README.expect(predict, predict.run(address))


def test_a_corpus_becomes_files(tmp_path: Path) -> None:
    block = README.block_with("polyseme embed")
    README.expect(block, block.run(runs=tmp_path))


def test_clients_get_what_is_shown(address: str) -> None:
    (block,) = README.blocks_of("python")
    README.expect(block, block.run(address))


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README.text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_its_figures_are_those_of_docs_numbers() -> None:
    """The README's short table is a choice from the page that the benchmarks print."""
    section = README.text.partition("\n## Numbers\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]
    figures = [figure for row in rows for figure in re.findall(r"\d[\d,.]*\d(?!\w)", row)]
    assert len(figures) > 12
    numbers = Page("docs/numbers.md").text
    assert [each for each in figures if not re.search(rf"(?<![\d,.]){re.escape(each)}(?!\d)", numbers)] == []


def test_every_page_of_docs_is_linked() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert set(re.findall(r"\]\((docs/\w+\.md)", README.text)) == pages


@pytest.mark.slow
def test_training_commands_end_with_a_bundle_that_is_served(tmp_path: Path) -> None:
    block = README.block_with("polyseme-train run")
    code = block.code.replace("runs/tiny", str(tmp_path / "tiny"))
    train, serve = (line for line in code.splitlines() if "polyseme" in line)
    Block("sh", f"{train} --work {tmp_path / 'tiny'}", None).run()
    serve = serve.replace(".venv/bin/polyseme", f"{sys.executable} -m service")
    with subprocess.Popen(
        ["bash", "-ec", f"exec {serve} --port 0"], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        assert "serving tiny on http://" in server.stderr.readline()
        server.terminate()
    assert server.returncode == 0

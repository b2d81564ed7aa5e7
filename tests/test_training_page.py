"""docs/training.md from its first block to its last: what it makes is there, and what it says is so."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from model.bundle import Bundle
from tests.documents import ROOT, Page, served
from tests.patience import PATIENCE_S
from training.config import load_config

PAGE = Page("docs/training.md")


def test_the_hours_are_those_of_the_measured_speed() -> None:
    (program,) = PAGE.blocks_of("python")
    assert program.run() == program.shown
    row = "| as shipped (bfloat16, adaptive softmax) | 6,338 |"
    assert row in (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")
    assert "6,338 tokens a second" in PAGE.text


def test_it_says_what_the_shipped_model_has() -> None:
    enko = load_config(ROOT / "training" / "configs" / "enko.toml")
    has = {**vars(enko.tokenizer), **vars(enko.model), **vars(enko.training)}
    said = re.findall(r"^(\w+) = .*# enko: ([\[\]\d_., e-]*[\]\d])", PAGE.text, re.MULTILINE)
    assert len(said) == 12
    for name, text in said:
        value = json.loads(text.replace("_", ""))
        assert (tuple(value) if isinstance(value, list) else value) == has[name], name
    assert sum(number for _, number in enko.model.filters) == 640


def test_what_goes_wrong_is_said_in_these_words() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "training").glob("*.py")]
    # A message may go on in the next line of its source.
    joined = re.sub(r'"\s+f?"', "", "\n".join(sources))
    messages = re.findall(r"^\| `([^`]+)` \|", PAGE.text.partition("## When it")[2], re.MULTILINE)
    assert len(messages) == 9
    assert [message for message in messages if message not in joined] == []


@pytest.mark.slow
def test_its_commands_end_with_what_they_promise(tmp_path: Path) -> None:
    commands = [block for block in PAGE.blocks_of("sh") if " serve " not in block.code]
    assert len(commands) == len(PAGE.blocks_of("sh")) - 1
    for block in commands:
        block.run(runs=tmp_path)
    mine, tuned = tmp_path / "mine", tmp_path / "tuned"
    table = PAGE.text.partition("| file |")[2].partition("`export`")[0]
    named = re.findall(r"^\| (`[^|]*`) \|", table, re.MULTILINE)
    files = [name for row in named for name in re.findall(r"`([^`]+)`", row)]
    assert len(files) == 7
    assert [name for name in files if not (mine / name).exists()] == []
    last = (mine / "record.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last)["tokens"] >= 15_000
    base = Bundle.open(tuned / "bundle").manifest.training["base"]
    assert base["name"] == "mine"
    assert "<svg" in (tmp_path / "curves.svg").read_text(encoding="utf-8")
    with served("--bundle", mine / "bundle", "--bundle", tuned / "bundle", models="mine, tuned") as address:
        for model in ("mine", "tuned"):
            request = {"model": model, "inputs": ["The bank of the river."], "pool": "sentence"}
            reply = httpx.post(f"{address}/v1/embed", json=request, timeout=PATIENCE_S)
            assert reply.json()["dimension"] == 64

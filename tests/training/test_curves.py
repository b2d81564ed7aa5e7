from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.training.runs import refused
from training.__main__ import main
from training.curves import Curve, curves_figure, read_curve
from training.workspace import Workspace


def write_run(folder: Path, entries: list[dict[str, float]]) -> Path:
    folder.mkdir()
    (folder / "record.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    losses = {"step": 50, "tokens": 500, "forward": 1.0, "backward": 2.0}
    measured = [{"step": s, "tokens": 10 * s, "heldout": math.log(p)} for s, p in ((100, 80.0), (200, 40.0))]
    return write_run(tmp_path / "small", [losses, *measured])


def test_a_curve_is_what_was_measured(run: Path) -> None:
    curve = read_curve(run)
    assert (curve.name, curve.tokens) == ("small", [1000, 2000])
    assert curve.perplexities == pytest.approx([80, 40])


def test_tokens_of_the_base_count(run: Path) -> None:
    training = {"tokens_seen": 500, "base": {"training": {"tokens_seen": 7}}}
    Workspace(run).write_base({"name": "first", "sha256": "0", "licence": "CC0-1.0", "training": training})
    assert read_curve(run).tokens == [1507, 2507]


def test_a_line_a_run() -> None:
    curves = [Curve("a", [10**6, 2 * 10**6], [9.0, 8.0]), Curve("b", [10**6], [7.0])]
    (axes,) = curves_figure(curves).axes
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert axes.lines[0].get_xydata().tolist() == [[1, 9], [2, 8]]  # type: ignore[union-attr]
    assert axes.get_yscale() == "log"


def test_the_command_draws(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, picture = tmp_path / "1.svg", tmp_path / "out" / "2.svg", tmp_path / "3.png"
    for path in (first, second, picture):
        assert main(["curves", str(run), "--out", str(path)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert "held-out perplexity per token" in first.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_drawn_is_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "expected a name that ends in .svg" in refused(capsys, "curves", run, "--out", tmp_path / "a.pdf")
    empty = write_run(tmp_path / "empty", [])
    assert "with a measured perplexity" in refused(capsys, "curves", empty, "--out", tmp_path / "a.svg")

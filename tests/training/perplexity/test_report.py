from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from model.bundle import Bundle
from tests.training.runs import refused
from training.__main__ import main
from training.perplexity.report import Measured, markdown_table
from training.perplexity.score import Counts

HELDOUT = Path(__file__).parents[2] / "data" / "heldout.en.txt"


def test_perplexity_is_the_exponential_of_the_nats_per_unit() -> None:
    measured = Measured("a", "as it stands", "float32", Counts(60.0, 90.0, 15, 10, 30, 0))
    assert measured.perplexities() == {
        "token": {"forward": math.exp(4), "backward": math.exp(6), "both": math.exp(5)},
        "word": {"forward": math.exp(6), "backward": math.exp(9), "both": math.exp(7.5)},
        "character": {"forward": math.exp(2), "backward": math.exp(3), "both": math.exp(2.5)},
    }


def test_the_table_says_how_a_text_was_read() -> None:
    rows = [
        Measured("a.txt", "as it stands", "float32", Counts(0.0, math.log(4), 1, 2, 4, 1)),
        Measured("a.txt: web", "as it stands", "int8", Counts(1e6, 0.0, 1, 500_000, 10**6, 0)),
    ]
    assert markdown_table(rows) == (
        "| text | precision | words | not in the vocabulary | per token | per word | per character |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| a.txt | float32 | 2 | 100.00 % | 1.0 / 4.0 / 2.0 | 1.0 / 2.0 / 1.4 | 1.000 / 1.414 / 1.189 |\n"
        "| a.txt: web | int8 | 500,000 | 0.00 % | – / 1.0 / – | 7.4 / 1.0 / 2.7 | 2.718 / 1.000 / 1.649 |\n"
        "\n"
        "- a.txt: as it stands.\n"
    )


def test_the_command_measures_what_evaluate_does(
    untrained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same numbers from the served files as from torch."""
    assert main(["evaluate", str(untrained.folder), "--heldout", f"en={HELDOUT}", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)["en"]
    assert main(["perplexity", str(untrained.folder), str(HELDOUT), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    for direction in ("forward", "backward"):
        for unit in ("token", "word", "character"):
            assert row["perplexity"][unit][direction] == pytest.approx(expected[direction][unit], rel=1e-3)


def test_blank_lines_of_a_published_set_are_words(
    untrained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text(" \n = Title = \n \n The <unk> . \n", encoding="utf-8")
    command = ["perplexity", str(untrained.folder), "--wikitext", str(path), "--json", "--precision", "int8"]
    assert main(command) == 0
    whole, known = json.loads(capsys.readouterr().out)
    assert whole["name"] == "wiki.txt"
    assert known["name"] == "wiki.txt, its `<unk>` not counted"
    assert (whole["counts"]["num_words"], known["counts"]["num_words"]) == (10, 9)
    assert whole["precision"] == "int8"
    assert whole["counts"]["forward"] > known["counts"]["forward"]


def test_parts_add_up_to_the_whole(
    untrained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, sources = tmp_path / "a.txt", tmp_path / "sources.toml"
    text.write_text("The bank.\nA river.\n\nThe end.\n", encoding="utf-8")
    sources.write_text('["a.txt"]\nweb = 1\nbooks = 1\n', encoding="utf-8")
    assert main(["perplexity", str(untrained.folder), str(text), "--sources", str(sources), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["a.txt", "a.txt: web", "a.txt: books"]
    whole, *parts = (row["counts"] for row in rows)
    for name, value in whole.items():
        assert value == pytest.approx(sum(part[name] for part in parts), rel=1e-6)


def test_a_missing_file_is_one_line(
    untrained: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.txt"
    assert refused(capsys, "perplexity", untrained.folder, missing) == f"{missing}: no such file"
    assert refused(capsys, "perplexity", untrained.folder, "--ptb", missing) == f"{missing}: no such file"

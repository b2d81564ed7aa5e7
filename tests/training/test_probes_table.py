from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from training.probes.plots import draw
from training.probes.report import SetResult
from training.probes.rows import BaselineRow, quoted_rows_of
from training.probes.table import beside_table, layer_table, mix_table, typo_table, write_report


def row(value: float, **more: float) -> dict[str, float]:
    return {"accuracy": value, "accuracy_low": value - 0.02, "accuracy_high": value + 0.02, **more}


SENSE = SetResult(
    "senses",
    "key",
    "hash",
    2,
    ["accuracy"],
    {"most frequent sense": row(0.4846), "layer 0": row(0.5), "equal": row(0.7), "learned": row(0.65)},
    {"num_test": 4},
    {"sense": {"weights": [0.25, 0.75], "shares": [0.6, 0.4]}},
    {"layer": "layer 0", "difference": 0.15, "low": -0.01, "high": 0.2},
    {
        "word": "배",
        "senses": ["pear", "ship"],
        "of": [0, 1, 1],
        "points": {"layer 0": [[0.1, 0.2], [0.3, 0.1], [0.0, 0.1]]},
    },
    1.0,
)
TYPOS = SetResult(
    "texts",
    "key",
    "hash",
    2,
    ["accuracy"],
    {"layer 0": row(0.9, accuracy_natural=0.7, accuracy_typo30=0.85)},
    {},
    {},
    None,
    None,
    1.0,
)
CHOICE = SetResult(
    "pairs", "key", "hash", 2, ["accuracy"], {"likelier sentence": row(0.6)}, {}, {}, None, None, 1.0
)
RESULTS = {"senses": SENSE, "texts": TYPOS, "pairs": CHOICE}


def test_a_floor_is_not_quoted_as_vectors_however_good_it_is() -> None:
    below = replace(SENSE, rows={**SENSE.rows, "most frequent sense": row(0.9)})
    assert below.headline == SENSE.headline == ["equal", "learned"]
    assert [each.layer for each in quoted_rows_of({"senses": below}, "RNN", "here")] == ["equal", "learned"]
    assert CHOICE.headline == ["likelier sentence"]


def test_layers_stand_beside_each_other_and_the_best_is_bold() -> None:
    assert layer_table(RESULTS) == (
        "## Layers and mixes\n\n"
        "| set | metric | floor | layer 0 | equal | learned |\n"
        "| --- | --- | ---: | ---: | ---: | ---: |\n"
        "| senses | accuracy | most frequent sense 48.5 | 50.0 (48.0 to 52.0) | **70.0** (68.0 to 72.0) "
        "| 65.0 (63.0 to 67.0) |\n"
        "| texts | accuracy |  | **90.0** (88.0 to 92.0) |  |  |\n"
        "| pairs | accuracy | likelier sentence 60.0 |  |  |  |\n"
    )


def test_the_learned_mix_is_told_with_its_difference() -> None:
    assert "| senses | sense | 0.25 0.75 | 0.60 0.40 | +15.0 (layer 0) | -1.0 to +20.0 |" in mix_table(
        RESULTS
    )
    assert mix_table({"texts": TYPOS}) == ""


def test_a_mix_with_the_text_stands_after_the_one_without(tmp_path: Path) -> None:
    gain = {"accuracy_gain": 0.1, "accuracy_gain_low": 0.04, "accuracy_gain_high": 0.15}
    rows = {**SENSE.rows, "layer 1": row(0.55), "learned + text": row(0.75, **gain)}
    mixes = {**SENSE.learned, "sense, with text": {"weights": [0.2, 0.8, 0.3], "shares": [0.5, 0.2, 0.3]}}
    results = {"senses": replace(SENSE, rows=rows, learned=mixes)}
    assert results["senses"].headline == ["learned + text", "learned"]
    weak = replace(results["senses"], rows={**rows, "learned + text": row(0.4)})
    assert weak.headline == ["equal", "learned", "learned + text"], "quoted whether it is good or not"
    head, _, line = layer_table(results).splitlines()[2:]
    assert head == "| set | metric | floor | layer 0 | layer 1 | equal | learned | learned + text |"
    assert line.endswith("| 65.0 (63.0 to 67.0) | **75.0** (73.0 to 77.0) |")
    told = "| senses | sense, with text | 0.20 0.80 0.30 | 0.50 0.20 0.30 | +10.0 (learned) | +4.0 to +15.0 |"
    assert told in mix_table(results)
    draw(results, tmp_path)
    shares = (tmp_path / "learned_shares.svg").read_text(encoding="utf-8")
    for label in ("layer 0", "layer 1", "text", "senses, sense, with text"):
        assert f">{label}</text>" in shares
    assert ">layer 2</text>" not in shares
    assert ">+ text</text>" in (tmp_path / "layers.svg").read_text(encoding="utf-8")


def test_what_typing_errors_cost() -> None:
    assert "| texts | layer 0 | 90.0 | 20.0 |  | 5.0 |" in typo_table(RESULTS)
    assert typo_table({"senses": SENSE}) == ""


def test_rows_from_elsewhere_say_where_they_come_from() -> None:
    beside = [
        BaselineRow("senses", "static", "window", {"accuracy": 0.774, "other": 0.1}, "cited: a paper"),
        BaselineRow("absent", "static", "", {"accuracy": 0.5}, "cited: a paper"),
        BaselineRow("texts", "static", "", {"other": 0.5}, "cited: a paper"),
    ]
    table = beside_table(RESULTS, beside)
    assert table.splitlines()[4:] == [
        "| senses | **equal** | accuracy | 70.0 | this report |",
        "| senses | **learned** | accuracy | 65.0 | this report |",
        "| senses | static, window | accuracy | 77.4 | cited: a paper |",
    ]
    assert beside_table(RESULTS, []) == ""


def test_a_report_is_the_same_every_time_pictures_too(tmp_path: Path) -> None:
    for out in (tmp_path / "one", tmp_path / "two"):
        plots = draw(RESULTS, out / "plots")
        assert [plot.name for plot in plots] == ["layers.svg", "learned_shares.svg", "senses_senses.svg"]
        write_report(out, "Some model", RESULTS, [], plots)
    for name in ("report.md", "report.json", *(f"plots/{plot.name}" for plot in plots)):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    text = (out / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Some model\n")
    assert "![learned_shares](plots/learned_shares.svg)" in text
    assert (
        json.loads((out / "report.json").read_text(encoding="utf-8"))["results"]["texts"]["rows"]
        == TYPOS.rows
    )
    picture = (out / "plots" / "senses_senses.svg").read_text(encoding="utf-8")
    assert "배 (senses)" in picture
    assert "pear" in picture

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.report import Probed, SetResult, load_result, markdown_table, result_path, save_result
from training.probes.runner import PROBE_SETS, ProbeSet, choose_sets, probe
from training.probes.source import LayerSource, SentenceLayers


class Constant:
    num_vector_layers = 1

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            yield SentenceLayers(
                np.array([0]), np.array([len(sentence)]), np.ones((1, 1, 2), dtype=np.float32)
            )


class Counted:
    """A set that counts how often it is run, and can be made to fail."""

    metrics = ("accuracy", "macro_recall")

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_runs = 0
        self.fails = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / "only.txt"]

    def run(self, folder: Path, source: LayerSource, *, num_threads: int, show_progress: bool) -> Probed:
        self.num_runs += 1
        if self.fails:
            raise RuntimeError("interrupted")
        return Probed({"layer 0": {"accuracy": 0.5, "macro_recall": 0.25, "c": 1.0}}, {"num_test": 4})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name in ("first", "second"):
        (folder / name).mkdir(parents=True)
        (folder / name / "only.txt").write_text(name)
    return folder


def run(known: Sequence[ProbeSet], data: Path, key: str = "key", names: list[str] | None = None) -> list[str]:
    out = data.parent / "report"
    return list(probe(Constant(), key, data, out, names, known_sets=known, show_progress=False))


def test_results_are_kept_and_a_second_run_takes_them(data: Path) -> None:
    first, second = known = Counted("first"), Counted("second")
    assert run(known, data) == ["first", "second"]
    assert run(known, data) == ["first", "second"]
    assert (first.num_runs, second.num_runs) == (1, 1)
    kept = json.loads((data.parent / "report" / "probe.json").read_text())
    assert list(kept) == ["first", "second"]
    assert kept["second"]["rows"] == {"layer 0": {"accuracy": 0.5, "macro_recall": 0.25, "c": 1.0}}
    assert kept["second"]["details"] == {"num_test": 4}
    table = (data.parent / "report" / "probe.md").read_text()
    assert "| layer 0 | **50.0 / 25.0** | **50.0 / 25.0** |" in table


def test_a_run_that_broke_goes_on_where_it_broke(data: Path) -> None:
    first, second = known = Counted("first"), Counted("second")
    second.fails = True
    with pytest.raises(RuntimeError):
        run(known, data)
    second.fails = False
    run(known, data)
    assert (first.num_runs, second.num_runs) == (1, 2)


def test_another_model_other_data_or_a_broken_file_is_probed_again(data: Path) -> None:
    first, second = known = Counted("first"), Counted("second")
    run(known, data)
    run(known, data, key="other")
    assert (first.num_runs, second.num_runs) == (2, 2)
    run(known, data)  # the other model's results do not displace the first one's
    assert (first.num_runs, second.num_runs) == (2, 2)
    (data / "first" / "only.txt").write_text("changed")
    run(known, data)
    assert (first.num_runs, second.num_runs) == (3, 2)
    result_path(data.parent / "report", "key", "second").write_text('{"set_name": "sec')
    run(known, data)
    assert (first.num_runs, second.num_runs) == (3, 3)


def test_sets_can_be_named_and_come_in_known_order(data: Path) -> None:
    first, second = known = Counted("first"), Counted("second")
    assert run(known, data, names=["second"]) == ["second"]
    assert (first.num_runs, second.num_runs) == (0, 1)
    assert run(known, data, names=["second", "first"]) == ["first", "second"]


def test_without_names_the_sets_that_are_there_are_run(data: Path) -> None:
    assert run([Counted("first"), Counted("absent")], data) == ["first"]


@pytest.mark.parametrize(
    ("names", "said"),
    [(["third"], "came third"), ([], "came none"), (["absent"], r"only\.txt: expected a file")],
)
def test_unknown_and_missing_sets_are_refused_before_any_work(
    data: Path, names: list[str], said: str
) -> None:
    first = Counted("first")
    with pytest.raises(ValueError, match=said):
        run([first, Counted("absent")], data, names=["first", *names] if names else names)
    assert first.num_runs == 0
    assert not (data.parent / "report").exists()


def test_a_folder_without_any_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="homograph_ko_open, wsd_kobest_ko"):
        choose_sets(tmp_path, None)


def test_the_known_sets() -> None:
    assert [probe_set.name for probe_set in PROBE_SETS] == [
        "homograph_ko_open",
        "wsd_kobest_ko",
        "homograph_en",
        "ud_ko_kaist",
        "ud_en_ewt",
    ]


def result(name: str, rows: dict[str, dict[str, float]], metrics: list[str]) -> SetResult:
    return SetResult(name, "key", "hash", 1, metrics, rows, {}, 1.0)


def test_the_table_has_every_row_and_marks_the_best_of_each_set() -> None:
    table = markdown_table(
        "Some model",
        {
            "sense": result(
                "sense", {"floor": {"a": 0.4846, "b": 0.4}, "mix": {"a": 0.7, "b": 0.65}}, ["a", "b"]
            ),
            "tag": result("tag", {"layer 0": {"a": 0.9}, "mix": {"a": 0.85}}, ["a"]),
        },
    )
    assert table == (
        "# Some model\n"
        "\n"
        "| vectors | sense (a, b) | tag (a) |\n"
        "| --- | ---: | ---: |\n"
        "| floor | 48.5 / 40.0 |  |\n"
        "| mix | **70.0 / 65.0** | 85.0 |\n"
        "| layer 0 |  | **90.0** |\n"
    )


def test_a_result_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = result("sense", {"층 0": {"a": 1 / 3}}, ["a"])
    path = result_path(tmp_path, "0123456789abcdef0123", "sense")
    assert path == tmp_path / "sets" / "0123456789abcdef" / "sense.json"
    assert load_result(path) is None
    save_result(path, saved)
    assert load_result(path) == saved
    assert [file.name for file in path.parent.iterdir()] == ["sense.json"]

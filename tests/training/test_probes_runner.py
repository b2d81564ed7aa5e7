from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.report import PROTOCOL_VERSION, Probed, SetResult, load_result, result_path, save_result
from training.probes.runner import choose_sets, probe
from training.probes.sets import PROBE_SETS, ProbeSet, with_wordnet
from training.probes.source import Doubles, SentenceLayers, Subject


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

    def __init__(self, name: str, *, asks_how_likely: bool = False) -> None:
        self.name = name
        self.asks_how_likely = asks_how_likely
        self.num_runs = 0
        self.fails = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / "only.txt"]

    def run(self, folder: Path, subject: Subject) -> Probed:
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
    kept = load_result(result_path(data.parent / "report", "key", "second"))
    assert kept is not None
    assert kept.rows == {"layer 0": {"accuracy": 0.5, "macro_recall": 0.25, "c": 1.0}}
    assert kept.details == {"num_test": 4}
    assert (kept.metrics, kept.protocol_version) == (["accuracy", "macro_recall"], PROTOCOL_VERSION)


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


class Scorer:
    def sentence_scores(self, sentences: Sequence[str]) -> Doubles:
        return np.zeros(len(sentences))


def test_without_a_language_model_its_sets_are_left_out_unless_named(data: Path) -> None:
    known = [Counted("first"), Counted("second", asks_how_likely=True)]
    assert run(known, data) == ["first"]
    assert run(known, data, names=["second"]) == ["second"]
    out = data.parent / "report"
    all_sets = probe(Constant(), "key", data, out, scorer=Scorer(), known_sets=known, show_progress=False)
    assert list(all_sets) == ["first", "second"]


def test_the_known_sets_have_different_names_and_their_files_in_their_folders(tmp_path: Path) -> None:
    names = [probe_set.name for probe_set in PROBE_SETS]
    assert len(set(names)) == len(names) == 22
    for probe_set in PROBE_SETS:
        files = probe_set.files(tmp_path / probe_set.name)
        assert files[0].parent == tmp_path / probe_set.name
        assert len(set(files)) == len(files)
        assert probe_set.metrics
    typos = PROBE_SETS[names.index("nsmc_raw_ko")].files(tmp_path / "nsmc_raw_ko")[3:]
    assert typos == [tmp_path / "typo_ko" / f"nsmc_raw_ko.{kind}.tsv" for kind in ("typo10", "typo30")]


def test_wordnet_goes_to_the_set_that_asks_for_first_senses(tmp_path: Path) -> None:
    changed = [
        (old.name, new.metrics)
        for old, new in zip(PROBE_SETS, with_wordnet(tmp_path), strict=True)
        if old != new
    ]
    assert changed == [("wsd_semcor_all", ("f1", "accuracy_covered"))]


def test_a_result_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    learned = {"sense": {"weights": [0.5, 0.5], "shares": [0.75, 0.25]}}
    against = {"layer": "층 0", "difference": 0.0, "low": 0.0, "high": 0.0}
    rows = {"층 0": {"a": 1 / 3}}
    saved = SetResult("sense", "key", "hash", 2, ["a"], rows, {}, learned, against, None, 1.0)
    path = result_path(tmp_path, "0123456789abcdef0123", "sense")
    assert path == tmp_path / "sets" / "0123456789abcdef" / "sense.json"
    assert load_result(path) is None
    save_result(path, saved)
    assert load_result(path) == saved
    assert [file.name for file in path.parent.iterdir()] == ["sense.json"]

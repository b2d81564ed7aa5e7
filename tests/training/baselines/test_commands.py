from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.bundle import Bundle
from tests.training.conftest import copy_workspace
from tests.training.runs import TOKENS_PER_STEP, refused, write_config
from training.__main__ import main
from training.baselines import static
from training.baselines.recurrent import TEXT
from training.baselines.static import FastTextConfig
from training.probes.rows import read_rows
from training.workspace import Workspace

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One small set of each kind that these tests ask for."""
    folder = tmp_path / "data" / "homograph_ko_open"
    folder.mkdir(parents=True)
    for split, sentences in {
        "train": [("배를 탔다", "boat"), ("배를 먹었다", "pear"), ("강에서 배를 탔다", "boat")],
        "test": [("바다에서 배를 탔다", "boat"), ("달콤한 배를 먹었다", "pear")],
    }.items():
        rows = [
            {
                "word": "배",
                "sense": sense,
                "sentence": text,
                "start": text.index("배"),
                "end": text.index("배") + 1,
            }
            for text, sense in sentences
        ]
        (folder / f"{split}.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
        )
    folder = tmp_path / "data" / "sst5"
    folder.mkdir()
    for split, texts in {"train": ["good", "bad"], "dev": ["so good"], "test": ["very good"]}.items():
        rows_of_text = "".join(f"{int('bad' in text)}\t{text}\n" for text in texts)
        (folder / f"{split}.tsv").write_text("label\ttext\n" + rows_of_text, encoding="utf-8")
    return tmp_path / "data"


def test_fasttext_gives_two_rows_a_set(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = FastTextConfig(dim=6, num_ngrams=500, min_count=2)
    monkeypatch.setattr(static, "FastTextConfig", lambda: small)
    command = ["baseline", "fasttext", str(DATA / "corpus.ko.txt"), "--work", str(tmp_path / "work")]
    command += ["--data", str(data), "--sets", "homograph_ko_open", "--out", str(tmp_path / "rows")]
    assert main(command) == 0
    rows = read_rows(tmp_path / "rows" / "fasttext.json")
    assert [(row.set, row.vectors, row.layer) for row in rows] == [
        ("homograph_ko_open", "fastText", ""),
        ("homograph_ko_open", "fastText + window", ""),
    ]
    # The same word in every sentence: without its neighbours the first sense is as near as the other.
    assert rows[0].metrics["accuracy"] == 0.5
    assert rows[1].metrics["accuracy"] == 1.0
    assert rows[0].source == "measured: polyseme-train baseline fasttext"
    vectors = tmp_path / "work" / "fasttext.bin"
    before = vectors.stat().st_mtime_ns
    assert main(command) == 0
    assert vectors.stat().st_mtime_ns == before
    capsys.readouterr()
    assert "other settings or text" in refused(capsys, *command, "--epochs", "1")


def test_counts_measure_what_can_be_counted(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["baseline", "counts", "--data", str(data), "--out", str(tmp_path / "rows")]) == 0
    (row,) = read_rows(tmp_path / "rows" / "counts.json")
    assert (row.set, row.vectors, row.metrics) == ("sst5", "TF-IDF", {"accuracy": 1.0})
    capsys.readouterr()
    line = refused(
        capsys,
        "baseline",
        "counts",
        "--data",
        data,
        "--sets",
        "homograph_ko_open",
        "--out",
        tmp_path / "rows",
    )
    assert line.startswith("expected sets among ud_en_ewt, ud_ko_kaist, sst2")


def test_an_untrained_network_has_its_best_row_and_learned_mixes(
    untrained: Bundle, data: Path, tmp_path: Path
) -> None:
    command = ["baseline", "untrained", str(untrained.folder), "--data", str(data)]
    # It is no language model: what is asked of one is left out.
    assert main([*command, "--sets", "homograph_ko_open,blimp", "--out", str(tmp_path / "rows")]) == 0
    rows = read_rows(tmp_path / "rows" / "untrained.json")
    assert {row.vectors for row in rows} == {"untrained network"}
    (result,) = (tmp_path / "rows").glob("sets/*/homograph_ko_open.json")
    measured = json.loads(result.read_text(encoding="utf-8"))["rows"]
    del measured["most frequent sense"]  # a floor is not the network's, however good
    best = max(measured, key=lambda name: measured[name]["accuracy"])
    quoted = (best, "learned", "learned + text")
    assert {row.layer: row.metrics for row in rows} == {name: measured[name] for name in quoted}


def test_options_of_the_recurrent_line_that_do_not_fit_are_refused(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["baseline", "recurrent", config, "--work", str(tmp_path / "work")]
    assert "--data and --out together" in refused(capsys, *command, "--data", tmp_path)
    line = refused(capsys, *command, "--only", "rnn,cnn")
    assert line == "--only: expected among rnn, rnn2, gru, lstm, lstm2; came rnn, cnn"
    assert not (tmp_path / "work").exists()


def test_the_recurrent_line_is_probed_in_both_directions_and_in_one(
    data: Path, prepared: Workspace, tmp_path: Path
) -> None:
    config = write_config(tmp_path, total_tokens=TOKENS_PER_STEP)
    copy_workspace(prepared, tmp_path / "work" / TEXT)
    command = ["baseline", "recurrent", str(config), "--work", str(tmp_path / "work"), "--only", "rnn"]
    command += ["--data", str(data), "--sets", "homograph_ko_open", "--out", str(tmp_path / "rows")]
    assert main(command) == 0
    rows = read_rows(tmp_path / "rows" / "recurrent.json")
    assert {row.vectors for row in rows} == {"simple RNN", "simple RNN, forward only"}

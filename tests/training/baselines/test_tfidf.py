from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.baselines.tfidf import TextCounts, measure, probe_pairs, probe_sentences
from training.probes.sentences import SentenceSet

GOOD = ["a fine film", "fine and good", "a good film", "good, so good", "really fine"]
BAD = ["a dull film", "dull and bad", "a bad film", "bad, so bad", "really dull"]


def write_table(path: Path, rows: list[tuple[str, ...]]) -> None:
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    rows = [("1", "x", text) for text in GOOD] + [("0", "y", text) for text in BAD]
    head = ("label", "kind", "text")
    write_table(folder / "train.tsv", [head, *rows, ("0", "y", "good film")])
    write_table(folder / "dev.tsv", [head, ("1", "x", "a good one"), ("0", "y", "a bad one")])
    # The last is wrong on purpose, the third stands in training with another label and is taken out there.
    test = [("1", "x", "fine"), ("0", "y", "dull"), ("1", "x", "good film"), ("1", "x", "so bad")]
    write_table(folder / "test.tsv", [head, *test])
    (tmp_path / "typo").mkdir()
    write_table(tmp_path / "typo" / "films.typo10.tsv", [head, ("1", "x", "fiine"), ("0", "y", "duull")])
    return folder


def test_a_probe_answers_clean_and_noisy_text(folder: Path) -> None:
    probe_set = SentenceSet("films", noisy_folder="typo", noisy_kinds=("typo10",))
    assert probe_sentences(probe_set, folder) == {"accuracy": 0.75, "accuracy_typo10": 1.0}


def test_every_column_is_asked_for(folder: Path) -> None:
    probe_set = SentenceSet("films", ("macro_f1", "accuracy"), ("label", "kind"))
    found = probe_sentences(probe_set, folder)
    assert list(found) == ["macro_f1", "accuracy", "macro_f1_kind", "accuracy_kind"]
    # Of two classes: 1 has 2 of 3 and nothing wrong (F1 0.8), 0 its one and one too many (2/3).
    assert found["macro_f1"] == found["macro_f1_kind"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_pairs_that_share_words_are_alike(tmp_path: Path) -> None:
    head = ("score", "text1", "text2")
    rows = [("5", "a dog runs", "a dog runs"), ("3", "a dog runs", "a dog sits"), ("0", "a dog runs", "rain")]
    for split in ("train", "test"):
        write_table(tmp_path / f"{split}.tsv", [head, *rows])
    assert probe_pairs(tmp_path) == {"spearman": pytest.approx(1.0)}


def test_counts_have_length_1_in_each_part() -> None:
    counts = TextCounts(GOOD)
    squares = np.asarray(counts(["good film", "a"]).power(2).sum(axis=1)).ravel()
    assert squares == pytest.approx([2, 2])


def test_metrics_by_hand() -> None:
    gold, predicted = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    assert measure("accuracy", gold, predicted) == 0.75
    assert measure("macro_f1", gold, predicted) == pytest.approx((2 / 3 + 0.8) / 2)
    assert measure("mcc", gold, predicted) == pytest.approx(2 / 12**0.5)

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training.wordnet_files import write_wordnet
from training.probes.all_words import AllWordsSet
from training.probes.source import SentenceLayers, Subject

RIVER, MONEY, OTHER = "bank%1:17:01::", "bank%1:14:11::", "other%5:00:01:different:02"


class NextWord:
    """Words are tokens; layer 0 knows the word alone, layer 1 the one after it."""

    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            words = sentence.split()
            starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
            codes = np.array([sum(map(ord, word)) % 16 for word in [*words, "."]])
            one_hot = np.eye(16, dtype=np.float32)[codes]
            ends = starts + [len(word) for word in words]
            yield SentenceLayers(starts, ends, np.stack([one_hot[:-1], one_hot[1:]]))


def write(path: Path, *sentences: tuple[str, list[tuple[int, list[str]]]]) -> None:
    rows = [
        {"tokens": text.split(), "ann": [[place, "lemma", "NN", keys] for place, keys in annotations]}
        for text, annotations in sentences
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "words"
    folder.mkdir()
    write(
        folder / "train.jsonl",
        ("x bank water", [(1, [RIVER])]),
        ("y bank water", [(1, [RIVER]), (0, ["y%1:00:00::"])]),
        ("z bank water", [(1, [RIVER])]),
        ("x bank notes", [(1, [MONEY])]),
        ("y bank notes", [(1, [MONEY])]),
        ("the bank notes here", [(1, [RIVER])]),  # wrong, and in test: left out
    )
    write(folder / "first.jsonl", ("the bank notes here", [(1, [MONEY, "bank%1:99:00::"])]))
    write(folder / "second.jsonl", ("old bank water", [(1, [RIVER])]), ("the other one", [(1, [OTHER])]))
    return folder


def test_without_wordnet_covered_words_are_measured(folder: Path) -> None:
    probe_set = AllWordsSet("words", ("first", "second"), max_examples_per_sense=2)
    assert probe_set.metrics == ("accuracy_covered",)
    probed = probe_set.run(folder, Subject(NextWord()))
    covered = {name: row["accuracy_covered"] for name, row in probed.rows.items()}
    # Without context, and most frequent in all of training: the river.
    assert covered["most frequent sense"] == 0.5
    assert covered["layer 1"] == covered["learned"] == 1
    assert "first sense" not in covered
    assert "f1" not in probed.rows["layer 1"]
    assert probed.details == {
        "num_train": 4,
        "num_train_sentences": 4,
        "num_test": 3,
        "num_test_covered": 2,
        "num_uncovered_spans": 0,
    }


def test_with_wordnet_every_word_is_answered(folder: Path, tmp_path: Path) -> None:
    probe_set = AllWordsSet("words", ("first", "second"), write_wordnet(tmp_path / "wordnet"))
    assert probe_set.metrics == ("f1", "accuracy_covered")
    assert len(probe_set.files(folder)) == 3 + 8
    rows = probe_set.run(folder, Subject(NextWord())).rows
    assert (rows["layer 1"]["f1"], rows["layer 1"]["accuracy_covered"]) == (1, 1)
    # First senses: money (right once of two) and the satellite.
    assert rows["first sense"]["f1"] == pytest.approx(2 / 3)
    assert (rows["first sense"]["f1_first"], rows["first sense"]["f1_second"]) == (1, 0.5)


def test_words_that_training_has_none_of_are_refused(folder: Path) -> None:
    write(folder / "train.jsonl", ("x y", [(1, ["y%1:00:00::"])]))
    with pytest.raises(ValueError, match=r"no word of first, second stands in train\.jsonl"):
        AllWordsSet("words", ("first", "second")).run(folder, Subject(NextWord()))

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.pairs import RatedWordsSet, SameSenseSet, SimilaritySet, best_threshold, cosines
from training.probes.readers.pairs import read_token_pairs
from training.probes.source import SentenceLayers, Subject


class NextWord:
    """Words are tokens; layer 0 knows the word alone, layer 1 the one after it."""

    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            words = sentence.split()
            starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
            own = np.stack([vector(word) for word in words])
            after = np.stack([vector(word) for word in [*words[1:], "."]])
            yield SentenceLayers(starts, starts + [len(word) for word in words], np.stack([own, after]))


def vector(word: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(sum(map(ord, word))).standard_normal(16).astype(np.float32)


def write_pairs(path: Path, numbers: range) -> None:
    """The same sense when the same word follows."""
    rows = []
    for number in numbers:
        after = [f"a{number}", f"a{number}" if number % 2 else f"b{number}"]
        first, second = (["x", str(side), str(number), "bank", after[side]] for side in (0, 1))
        rows.append({"tokens1": first, "index1": 3, "tokens2": second, "index2": 3, "label": number % 2})
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_same_sense_is_told_by_a_threshold_from_dev(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    write_pairs(folder / "train.jsonl", range(44))
    write_pairs(folder / "dev.jsonl", range(100, 130))
    write_pairs(folder / "test.jsonl", range(40, 60))
    probed = SameSenseSet("pairs", read_token_pairs).run(folder, Subject(NextWord()))
    assert probed.rows["layer 0"]["accuracy"] == 0.5  # the word is the same in all of them
    assert probed.rows["layer 1"]["accuracy"] == probed.rows["learned"]["accuracy"] == 1
    mix = probed.learned["cosine"]
    assert mix is not None
    assert mix.shares_L[1] > 0.5
    assert probed.details == {
        "num_train": 40,
        "num_dev": 30,
        "num_test": 20,
        "num_removed_from_train": 4,
        "num_removed_from_dev": 0,
    }


def test_rated_words_are_correlated_by_rank(tmp_path: Path) -> None:
    rows = [
        {"context1": f"<b> w </b> {first}", "context2": f"<b> w </b> {second}", "score": score}
        for first, second, score in (("a", "a", "9"), ("a", "b", "1"), ("c", "c", "8"), ("c", "d", "2"))
    ]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    probed = RatedWordsSet("rated").run(tmp_path, Subject(NextWord()))
    assert list(probed.rows) == ["layer 0", "layer 1", "equal"]
    assert probed.rows["layer 0"]["spearman"] == 0
    assert probed.rows["layer 1"]["spearman"] > 0.7
    assert probed.against_layer is None


def test_similar_texts_are_centred_by_the_mean_of_dev(tmp_path: Path) -> None:
    head = "score\ttext1\ttext2\n"
    dev = "".join(f"{i % 3}\td{i} e\td{i if i % 3 == 2 else i + 50} e\n" for i in range(30))
    (tmp_path / "dev.tsv").write_text(head + "3\ta b\tsomething\n" + dev)
    (tmp_path / "test.tsv").write_text(head + "3\ta b\ta b\n1\ta b\tc d\n2\ta b\ta d\n")
    probed = SimilaritySet("similar").run(tmp_path, Subject(NextWord()))
    assert probed.details == {"num_dev": 30, "num_removed_from_dev": 1, "num_test": 3}
    assert probed.rows["layer 0"]["spearman"] == pytest.approx(1)
    assert set(probed.rows["learned"]) >= {"spearman", "spearman_centred", "spearman_low", "spearman_high"}


def test_the_threshold_is_the_best_one_between_values() -> None:
    values, labels = np.array([0.1, 0.9, 0.5, 0.7]), np.array([0.0, 1.0, 0.0, 1.0])
    assert best_threshold(values, labels) == pytest.approx((0.6, 1.0))
    assert best_threshold(values, 1 - labels) == pytest.approx((-0.9, 0.5))
    # Values that are equal are never on two sides.
    assert best_threshold(np.full(3, 0.5), np.array([1.0, 1.0, 0.0])) == pytest.approx((-0.5, 2 / 3))


def test_cosines() -> None:
    first = np.array([[3, 0], [1, 1], [0, 0]], dtype=np.float32)
    second = np.array([[0, 2], [2, 2], [1, 0]], dtype=np.float32)
    assert cosines(first, second).tolist() == [0, 1, 0]

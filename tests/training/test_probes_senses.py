from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tqdm import tqdm

from model.tasks.report import LEARNED_WITH_TEXT
from training.probes.readers.marked import SenseExample
from training.probes.senses import (
    SenseSet,
    most_frequent_senses,
    nearest_centroids,
    sense_metrics,
    sense_vectors,
    told_apart,
)
from training.probes.source import SentenceLayers, Subject


def floats(values: list[list[float]]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def example(word: str, sense: str, sentence: str = "") -> SenseExample:
    sentence = sentence or word
    start = sentence.index(word)
    return SenseExample(word, sense, sentence, start, start + len(word))


def test_the_nearest_centroid_is_that_of_the_word_itself_by_angle() -> None:
    train = [
        example("bank", "river"),
        example("bank", "money"),
        example("bank", "money"),
        example("bow", "ship"),
    ]
    train_ND = floats([[1, 0], [0, 1], [0.2, 3], [1, 1]])
    test = [
        example("bank", "river"),
        example("bank", "money"),
        example("bow", "tie"),
        example("bass", "fish"),
    ]
    # (100, 60) is nearer to the river's direction though the money's centroid (0.1, 2) is longer;
    # (1, 1) would be nearest to bow's centroid, which bank must not see.
    test_ND = floats([[100, 60], [1, 1.2], [-1, 0], [0, 1]])
    assert nearest_centroids(train, train_ND, test, test_ND) == ["river", "money", "ship", None]


def test_a_centroid_is_the_mean_of_the_vectors_as_they_are() -> None:
    train = [example("w", "a"), example("w", "a"), example("w", "b")]
    # Mean (4.5, 0.5); the mean of the two directions would be (0.5, 0.5), nearer to (1, 1) than (0, 1) is.
    train_ND = floats([[9, 0], [0, 1], [0.3, 1]])
    assert nearest_centroids(train, train_ND, [example("w", "b")], floats([[1, 1]])) == ["b"]


def test_rounding_does_not_choose_among_equal_centroids() -> None:
    static = np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)
    shaken = np.repeat(static, 100, axis=0)
    shaken[1::2] *= np.float32(1 + 1e-7)
    train = [example("w", "first" if i % 3 == 0 else f"other {i % 5}") for i in range(99)]
    assert nearest_centroids(train, shaken[:99], [example("w", "other 1")], shaken[99:]) == ["first"]


def test_of_equal_centroids_the_first_in_training_wins_and_zero_vectors_are_no_trouble() -> None:
    train = [example("w", "late"), example("w", "early")]
    predicted = nearest_centroids(
        train, np.zeros((2, 2), dtype=np.float32), [example("w", "early")], np.zeros((1, 2), dtype=np.float32)
    )
    assert predicted == ["late"]


def test_the_score_counts_examples_senses_and_words() -> None:
    test = [example("a", "1"), example("a", "1"), example("a", "1"), example("a", "2"), example("b", "1")]
    metrics = sense_metrics(test, ["1", "1", "2", "2", None])
    once = np.ones(5, dtype=np.int64)
    assert metrics["accuracy"](once) == 3 / 5
    assert metrics["macro_recall"](once) == pytest.approx((2 / 3 + 1 + 0) / 3)
    # a: 4 / 5 and 2 / 3; b: 0.
    assert metrics["macro_f1"](once) == pytest.approx(((4 / 5 + 2 / 3) / 2 + 0) / 2)


def test_the_floor_is_the_commonest_sense_in_training() -> None:
    train = [example("a", "2"), example("a", "1"), example("a", "1"), example("b", "2")]
    test = [example("a", "2"), example("b", "1"), example("c", "1")]
    assert most_frequent_senses(train, test) == ["1", "2", None]


class NextLetter:
    """Letters are tokens; layer 0 knows the letter alone, layer 1 the one after it."""

    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            place = np.arange(len(sentence))
            codes = np.array([ord(character) for character in sentence + " "], dtype=np.int64) % 8
            one_hot = np.eye(8, dtype=np.float32)[codes]
            yield SentenceLayers(place, place + 1, np.stack([one_hot[:-1], one_hot[1:]]))


def test_vectors_of_marked_words_and_of_their_sentences() -> None:
    with tqdm(total=2, disable=True) as bar:
        found = sense_vectors(NextLetter(), ["abc", "hd"], [[(0, 1), (1, 3)], [(1, 2)]], bar)
    one_hot = np.eye(8, dtype=np.float32)
    a, b, c, d, h, space = (one_hot[ord(letter) % 8] for letter in "abcdh ")
    expected = [
        [a, b, (a + b + c) / 3],
        [(b + c) / 2, (c + space) / 2, (a + b + c) / 3],
        [d, space, (h + d) / 2],
    ]
    np.testing.assert_allclose(found.vectors_NCD, expected, rtol=1e-6)
    assert found.num_uncovered == 0


def test_what_a_sentence_is_about_tells_senses_apart() -> None:
    # The letter after it is "c" as often as "d" in both senses.
    train = [
        *(example("b", "fish", f"{'a' * n}b{'cd'[n % 2]}fff") for n in range(6)),
        *(example("b", "tone", f"{'a' * n}b{'cd'[n % 2]}eee") for n in range(6)),
    ]
    test = [example("b", "fish", "aabcfff"), example("b", "tone", "aabceee")]
    examples = [*train, *test]
    with tqdm(total=len(examples), disable=True) as bar:
        spans = [[(e.start, e.end)] for e in examples]
        vectors = sense_vectors(NextLetter(), [e.sentence for e in examples], spans, bar)
    predicted, learned = told_apart(train, test, vectors.vectors_NCD)
    assert predicted[LEARNED_WITH_TEXT] == ["fish", "tone"]
    for name in ("layer 0", "layer 1", "equal", "learned"):
        assert predicted[name] == ["fish", "fish"], "of equal centroids the first"
    with_text = learned["sense, with text"]
    assert learned["sense"].weights_L.tolist() == with_text.weights_L[:2].tolist()
    assert len(with_text.weights_L) == 3
    assert with_text.weights_L[:2].sum() == pytest.approx(1.0)


def write_set(folder: Path, **splits: list[SenseExample]) -> None:
    folder.mkdir()
    for split, examples in splits.items():
        rows = [
            {"word": e.word, "sense": e.sense, "sentence": e.sentence, "start": e.start, "end": e.end}
            for e in examples
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_set_tells_what_context_adds_and_leaves_test_sentences_out_of_training(tmp_path: Path) -> None:
    folder = tmp_path / "homographs"
    shared = example("b", "before e", "zbez")
    write_set(
        folder,
        train=[
            example("b", "before d", "bd"),
            example("b", "before d", "abd"),
            example("b", "before e", "be"),
        ]
        # Wrong on purpose: were it kept, "before d" would be the centroid nearest to an e.
        + [SenseExample("b", "before d", shared.sentence, 1, 2)] * 9,
        test=[example("b", "before d", "xbd"), shared, example("b", "before e", "ybe")],
    )
    probed = SenseSet("homographs", word_in_picture="b").run(folder, Subject(NextLetter()))
    found = {name: (row["accuracy"], row["macro_recall"]) for name, row in probed.rows.items()}
    assert found == {
        "most frequent sense": (1 / 3, 0.5),
        "layer 0": (1 / 3, 0.5),
        "layer 1": (1.0, 1.0),
        "equal": (1.0, 1.0),
        "learned": (1.0, 1.0),
        "learned + text": (1.0, 1.0),
    }
    mix = probed.learned["sense"]
    assert mix is not None
    assert mix.weights_L.sum() == pytest.approx(1)
    assert probed.details == {
        "num_train": 3,
        "num_removed_from_train": 9,
        "num_test": 3,
        "num_uncovered_spans": 0,
    }
    assert probed.picture is not None
    assert probed.picture.senses == ["before d", "before e"]
    assert probed.picture.of == [0, 1, 1]


def test_a_set_without_examples_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "empty", train=[], test=[example("a", "1")])
    write_set(tmp_path / "overlap", train=[example("a", "1")], test=[example("a", "1")])
    for name, said in [
        ("empty", "expected examples in train.jsonl and test.jsonl"),
        ("overlap", "every training sentence"),
    ]:
        with pytest.raises(ValueError, match=said):
            SenseSet(name).run(tmp_path / name, Subject(NextLetter()))

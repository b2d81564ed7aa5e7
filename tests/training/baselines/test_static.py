from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.baselines.static import (
    FastTextConfig,
    StaticSource,
    WindowSource,
    load_fasttext,
    train_fasttext,
    with_neighbours,
)
from training.probes.source import FloatArray, LayerSource, SentenceLayers

DATA = Path(__file__).parents[2] / "data"
TEXTS = [DATA / "corpus.en.txt", DATA / "corpus.ko.txt"]
SMALL = FastTextConfig(dim=6, num_ngrams=500, num_epochs=2)


class Lengths:
    """A word's vector is (its length, 1)."""

    vector_size = 2

    def get_vector(self, word: str, /) -> FloatArray:
        return np.array([len(word), 1], dtype=np.float32)


def layers_of(source: LayerSource, sentence: str) -> SentenceLayers:
    (layers,) = source.sentence_layers([sentence])
    return layers


def test_a_word_has_its_vector_and_its_place() -> None:
    found = layers_of(StaticSource(Lengths()), "강에서 배를.")
    assert found.starts.tolist() == [0, 4, 6]
    assert found.ends.tolist() == [3, 6, 7]
    assert found.layers_LTD.tolist() == [[[3, 1], [2, 1], [1, 1]]]
    assert found.layers_LTD.dtype == np.float32


def test_neighbours_stand_beside_a_word() -> None:
    """The word, before, after, the mean of five before, of five after; by hand, of seven words."""
    vectors = np.arange(1, 8, dtype=np.float32)[:, None]
    assert with_neighbours(vectors).tolist() == [
        [1, 0, 2, 0, 4],
        [2, 1, 3, 1, 5],
        [3, 2, 4, 1.5, 5.5],
        [4, 3, 5, 2, 6],
        [5, 4, 6, 2.5, 6.5],
        [6, 5, 7, 3, 7],
        [7, 6, 0, 4, 0],
    ]
    found = layers_of(WindowSource(Lengths()), "a bb")
    assert found.layers_LTD.tolist() == [[[1, 1, 0, 0, 2, 1, 0, 0, 2, 1], [2, 1, 1, 1, 0, 0, 1, 1, 0, 0]]]


@pytest.mark.parametrize("sentence", ["", "  "])
def test_a_sentence_without_words_has_none(sentence: str) -> None:
    assert layers_of(StaticSource(Lengths()), sentence).layers_LTD.shape == (1, 0, 2)
    assert layers_of(WindowSource(Lengths()), sentence).layers_LTD.shape == (1, 0, 10)


def test_the_same_text_gives_the_same_vectors(tmp_path: Path) -> None:
    paths = [tmp_path / "1" / "fasttext.bin", tmp_path / "2" / "fasttext.bin"]
    for path in paths:
        train_fasttext(TEXTS, path, SMALL, show_progress=False)
    one, other = map(load_fasttext, paths)
    assert one.vector_size == 6
    for word in ("the", "배를", "never-seen"):
        assert np.array_equal(one.get_vector(word), other.get_vector(word))
        assert np.abs(one.get_vector(word)).max() > 0
    assert [path.name for path in paths[0].parent.iterdir()] == ["fasttext.bin"]


def test_a_text_without_a_frequent_word_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("one two three\n", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a word that stands 5 times"):
        train_fasttext([text], tmp_path / "fasttext.bin", SMALL, show_progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        load_fasttext(tmp_path / "none.bin")
    path = tmp_path / "text.bin"
    path.write_text("no model, but long enough to hold a header of one\n" * 9, encoding="utf-8")
    with pytest.raises(ValueError, match="expected a fastText model"):
        load_fasttext(path)

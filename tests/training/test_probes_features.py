from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from training.probes.features import feature_sets, num_feature_sets, pool_spans, span_vectors, text_vectors
from training.probes.source import SentenceLayers


def floats(values: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def letters(sentence: str) -> SentenceLayers:
    """Every letter a token; layers hold its code point, and its code point times its position."""
    code = np.array([ord(character) for character in sentence], dtype=np.float32)
    place = np.arange(len(sentence))
    layers_LTD = np.stack([np.stack([code, code], axis=1), np.stack([code * place, place], axis=1)])
    visible = np.array([not character.isspace() for character in sentence], dtype=np.bool_)
    return SentenceLayers(place[visible], place[visible] + 1, layers_LTD[:, visible].astype(np.float32))


class Letters:
    num_vector_layers = 2

    def __init__(self) -> None:
        self.seen: list[str] = []

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            self.seen.append(sentence)
            yield letters(sentence)


def test_a_span_is_the_mean_of_the_tokens_that_overlap_it() -> None:
    sentence = SentenceLayers(
        np.array([0, 2, 5]),
        np.array([2, 5, 6]),
        np.array([[[1.0], [2.0], [4.0]], [[10.0], [20.0], [60.0]]], dtype=np.float32),
    )
    pooled_LSD, covered_S = pool_spans(sentence, [(0, 2), (1, 3), (3, 4), (4, 6), (0, 6), (6, 9)])
    np.testing.assert_array_equal(pooled_LSD[0, :, 0], floats([1, 1.5, 2, 3, 7 / 3, 0]))
    np.testing.assert_array_equal(pooled_LSD[1, :, 0], floats([10, 15, 20, 40, 30, 0]))
    assert covered_S.tolist() == [True, True, True, True, True, False]
    assert pooled_LSD.dtype == np.float32


def test_vectors_stand_in_the_order_asked_for_whatever_order_they_were_made_in() -> None:
    source = Letters()
    sentences = ["long enough", "가 b", "c"]
    with tqdm(disable=True) as bar:
        vectors = span_vectors(source, sentences, [[(0, 1)], [(2, 3), (0, 1), (1, 2)], [(0, 1)]], bar)
    assert source.seen == ["c", "가 b", "long enough"]
    np.testing.assert_array_equal(
        vectors.vectors_NLD[:, 0, 0], floats([ord("l"), ord("b"), ord("가"), 0, ord("c")])
    )
    np.testing.assert_array_equal(vectors.vectors_NLD[:, 1, 1], floats([0, 2, 0, 0, 0]))
    assert vectors.num_uncovered == 1


def test_feature_sets_are_each_layer_the_equal_mix_and_the_learned_one() -> None:
    with tqdm(disable=True) as bar:
        vectors = span_vectors(Letters(), ["ab"], [[(1, 2)]], bar)
    sets = dict(feature_sets(vectors.vectors_NLD, np.array([0.25, 0.75])))
    assert list(sets) == ["layer 0", "layer 1", "equal", "learned"]
    assert num_feature_sets(2) == 4
    np.testing.assert_array_equal(sets["layer 0"], floats([[98, 98]]))
    np.testing.assert_array_equal(sets["layer 1"], floats([[98, 1]]))
    np.testing.assert_array_equal(sets["equal"], floats([[98, 49.5]]))
    np.testing.assert_array_equal(sets["learned"], floats([[98, 25.25]]))


def test_without_a_learned_mix_or_other_layers_there_are_fewer_sets() -> None:
    vectors_NLD = np.ones((2, 3, 4), dtype=np.float32)
    assert list(dict(feature_sets(vectors_NLD, None))) == ["layer 0", "layer 1", "layer 2", "equal"]
    assert list(dict(feature_sets(vectors_NLD[:, :1], None))) == ["layer 0"]
    assert num_feature_sets(1) == 1


def test_a_text_is_the_mean_of_its_tokens_and_an_empty_one_is_zero() -> None:
    with tqdm(disable=True) as bar:
        vectors = text_vectors(Letters(), ["ab", "  "], bar)
    np.testing.assert_array_equal(vectors.vectors_NLD[0], floats([[97.5, 97.5], [49, 0.5]]))
    np.testing.assert_array_equal(vectors.vectors_NLD[1], floats([[0, 0], [0, 0]]))
    assert vectors.num_uncovered == 1


def test_no_span_at_all_is_refused() -> None:
    with tqdm(disable=True) as bar, pytest.raises(ValueError, match="at least one span"):
        span_vectors(Letters(), ["ab"], [[]], bar)

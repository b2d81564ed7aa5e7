"""Counts against loops, information against its formula, and what the vectors are near to."""

from __future__ import annotations

import numpy as np
import pytest

from training import static_vectors as module
from training.corpus import PackedCorpus
from training.static_vectors import WINDOW, static_vectors
from training.workspace import Workspace


class Text(PackedCorpus):
    """A packed corpus of these ids."""

    def __init__(self, token_ids: list[int], vocabulary_size: int) -> None:
        self.token_ids = np.array(token_ids, dtype=np.uint32)
        self.vocabulary_size = vocabulary_size


def plain_counts(ids: list[int], num_pieces: int) -> np.ndarray:
    counts = np.zeros((num_pieces, num_pieces))
    known = [i if i < num_pieces else 0 for i in ids]
    for at, piece in enumerate(known):
        for other in range(max(0, at - WINDOW), min(len(known), at + WINDOW + 1)):
            if other != at and piece > 1 and known[other] > 1:
                counts[piece, known[other]] += 1 - (abs(at - other) - 1) / WINDOW
    return counts


@pytest.mark.parametrize("tokens_at_once", [1, 7, 40, 1000])
def test_counts(tokens_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the text is cut; an id beyond the vocabulary is the unknown piece."""
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", tokens_at_once)
    ids = np.random.default_rng(0).integers(0, 8, 40).tolist()
    counts_VK = module._neighbours(Text(ids, 6))
    np.testing.assert_allclose(counts_VK, plain_counts(ids, 6), atol=1e-5)


def test_only_the_most_frequent_pieces_are_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_COUNTS", 6 * 4)
    ids = [1, 2, 3, 2, 4, 5, 1, 3, 2, 5, 3, 5]
    counts_VK = module._neighbours(Text(ids, 6))
    np.testing.assert_allclose(counts_VK, plain_counts(ids, 6)[:, [1, 2, 3, 5]], atol=1e-5)


def test_information() -> None:
    counts_VK = np.array([[4, 0], [1, 3]], dtype=np.float32)
    contexts = np.array([5, 3]) ** 0.75
    expected = np.log(counts_VK[1, 1] / (4 * contexts[1] / contexts.sum()))
    information = module._positive_information(counts_VK)
    assert information[1, 1] == pytest.approx(expected, rel=1e-5)
    assert information[1, 0] == information[0, 1] == 0  # met less often than by chance; never met


def test_pieces_in_the_same_company_are_near() -> None:
    """Ids 2 and 3 stand among 10 to 14, ids 4 and 5 among 20 to 24."""
    rng = np.random.default_rng(0)
    ids: list[int] = []
    for _ in range(400):
        piece = int(rng.integers(2, 6))
        company = rng.integers(10, 15, 6) if piece < 4 else rng.integers(20, 25, 6)
        ids += [1] * WINDOW + [*company[:3].tolist(), piece, *company[3:].tolist()]
    vectors_VW = static_vectors(Text(ids, 30), 8, seed=1)
    assert vectors_VW.dtype == np.float32
    cosines = vectors_VW[2:6] @ vectors_VW[2:6].T
    assert cosines[0, 1] > 0.8
    assert cosines[2, 3] > 0.8
    assert (cosines[:2, 2:] < 0).all()
    assert np.linalg.norm(vectors_VW, axis=1)[[2, 12, 24]] == pytest.approx([1, 1, 1], rel=1e-5)
    assert (vectors_VW[[0, 1, 7, 29]] == 0).all()  # unknown, boundary, and what is not in the text
    np.testing.assert_array_equal(static_vectors(Text(ids, 30), 8, seed=1), vectors_VW)


def test_more_numbers_than_contexts_are_zero() -> None:
    ids = np.random.default_rng(0).integers(2, 8, 400).tolist()
    vectors_VW = static_vectors(Text(ids, 8), 20, seed=1)
    assert vectors_VW.shape == (8, 20)
    assert (vectors_VW[:, 8:] == 0).all()
    assert np.isfinite(vectors_VW).all()


def test_text_with_nothing_in_it() -> None:
    assert (static_vectors(Text([1] * 50, 8), 4, seed=1) == 0).all()


def test_a_real_text(prepared: Workspace) -> None:
    corpus = PackedCorpus(prepared.train_path)
    vectors_VW = static_vectors(corpus, 16, seed=1)
    assert vectors_VW.shape == (corpus.vocabulary_size, 16)
    pieces = prepared.tokenizer.pieces()
    seen = np.flatnonzero(vectors_VW.any(axis=1))
    assert {"▁the", "▁of"} <= {pieces[i] for i in seen}
    assert np.linalg.norm(vectors_VW[seen], axis=1) == pytest.approx(np.ones(len(seen)), rel=1e-5)

"""Vectors of pieces from the company they keep, to start their own vectors from.

How often pieces stand near each other, as positive pointwise mutual information, factorised: Levy and
Goldberg 2014 ("Neural word embedding as implicit matrix factorization"), with what Levy et al. 2015
(doi:10.1162/tacl_a_00134) found to matter: nearer neighbours weigh more, contexts are smoothed, and the
singular values are taken by their square roots.
A minute for a hundred million tokens; a language model learns the same from spellings over many hours.

Shape letters: V pieces, K pieces that count as contexts, W dim.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.utils.extmath import randomized_svd

from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training.corpus import PackedCorpus

WINDOW = 8
"""Neighbours on each side; the nearest weighs 1, the farthest 1/8."""

MAX_COUNTS = 2**27
"""V x K, which bounds the memory to about 3 GB: of 16,384 pieces the 8,192 most frequent are contexts."""

TOKENS_AT_ONCE = 2**26

SMOOTHING = 0.75
"""Exponent of a context's frequency: rare contexts say less than their counts do."""

LEAST_NEIGHBOURS = 20.0
"""A piece with fewer (weighted) starts from zero: what little was seen of it would be all that it is."""

Floats = npt.NDArray[np.float32]


def static_vectors(corpus: PackedCorpus, dim: int, seed: int) -> Floats:
    """Return float32 (V, W): rows of length 1, or 0 for boundary, unknown and hardly seen pieces.

    Columns beyond K are 0. Equal for equal text and seed, on equal machines.
    """
    counts_VK = _neighbours(corpus)
    information_VK = _positive_information(counts_VK)
    rank = min(dim, *counts_VK.shape)
    left_VW, singular_W, _ = randomized_svd(information_VK, rank, n_iter=4, random_state=seed)
    vectors_VW = np.zeros((len(counts_VK), dim), dtype=np.float32)
    vectors_VW[:, :rank] = left_VW * np.sqrt(singular_W)
    is_seen_V = counts_VK.sum(axis=1) >= LEAST_NEIGHBOURS
    if is_seen_V.any():
        vectors_VW[is_seen_V] -= vectors_VW[is_seen_V].mean(
            axis=0
        )  # what all have in common tells none apart
    lengths_V1 = np.linalg.norm(vectors_VW, axis=1, keepdims=True)
    vectors_VW /= np.maximum(lengths_V1, np.finfo(np.float32).tiny)
    vectors_VW[~is_seen_V] = 0
    return vectors_VW


def _neighbours(corpus: PackedCorpus) -> Floats:
    """Return float32 (V, K): how often each piece stands near each context, on either side, by nearness.

    Lines and documents follow each other in the text as they do in the count.
    """
    num_pieces = corpus.vocabulary_size
    num_contexts = min(num_pieces, MAX_COUNTS // num_pieces)
    frequencies_V = _frequencies(corpus)
    contexts = np.sort(np.argsort(-frequencies_V, kind="stable")[:num_contexts])
    # One column more for all that is no context, which is dropped at the end.
    column_of_V = np.full(num_pieces, num_contexts)
    column_of_V[contexts] = np.arange(num_contexts)
    column_of_V[[UNKNOWN_ID, BOUNDARY_ID]] = num_contexts
    width = num_contexts + 1
    counts = np.zeros(num_pieces * width, dtype=np.float32)
    for start in range(0, len(corpus), TOKENS_AT_ONCE):
        ids = _known(corpus.token_ids[start : start + TOKENS_AT_ONCE + WINDOW], num_pieces)
        columns = column_of_V[ids]
        for distance in range(1, min(WINDOW, len(ids) - 1) + 1):
            weight = np.float32(1 - (distance - 1) / WINDOW)
            first = len(ids) - distance if start + TOKENS_AT_ONCE >= len(corpus) else TOKENS_AT_ONCE
            for pieces, near in (
                (ids[:-distance], columns[distance:]),
                (ids[distance:], columns[:-distance]),
            ):
                keys = pieces[:first] * width + near[:first]
                counts += weight * np.bincount(keys, minlength=len(counts)).astype(np.float32)
    counts_VK = counts.reshape(num_pieces, width)[:, :num_contexts]
    counts_VK[[UNKNOWN_ID, BOUNDARY_ID]] = 0
    return counts_VK


def _frequencies(corpus: PackedCorpus) -> npt.NDArray[np.int64]:
    counts_V = np.zeros(corpus.vocabulary_size, dtype=np.int64)
    for start in range(0, len(corpus), TOKENS_AT_ONCE):
        ids = _known(corpus.token_ids[start : start + TOKENS_AT_ONCE], corpus.vocabulary_size)
        counts_V += np.bincount(ids, minlength=len(counts_V))
    return counts_V


def _known(token_ids_N: npt.NDArray[np.uint32], num_pieces: int) -> npt.NDArray[np.int64]:
    return np.where(token_ids_N < num_pieces, token_ids_N, UNKNOWN_ID).astype(np.int64)


def _positive_information(counts_VK: Floats) -> Floats:
    """Return the logarithm of how much oftener the two meet than by chance, 0 where they do not."""
    of_piece_V1 = counts_VK.sum(axis=1, keepdims=True)
    of_context_K = counts_VK.sum(axis=0) ** SMOOTHING
    expected_K = of_context_K / max(of_context_K.sum(), 1.0)
    information_VK = np.zeros_like(counts_VK)
    np.divide(counts_VK, of_piece_V1 * expected_K, out=information_VK, where=counts_VK > 0)
    np.log(information_VK, out=information_VK, where=information_VK > 0)
    return np.maximum(information_VK, 0, out=information_VK)

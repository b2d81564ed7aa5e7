"""Sentences and spans -> one vector per span and layer; whole sentences' layers are never kept.

Shapes: L layers, S spans of a sentence, N spans of all sentences, D = 2H.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.tasks.report import EQUAL, LEARNED, layer_name
from training.probes.readers.marked import Span
from training.probes.source import Doubles, FloatArray, LayerSource, SentenceLayers


def is_layer(row: str) -> bool:
    """Whether a row of this name is of one layer alone."""
    return row.startswith("layer ")


@dataclass(frozen=True, slots=True)
class SpanVectors:
    """float32 (N, L, D), in the order asked for; the `num_uncovered` spans without a token have rows of 0."""

    vectors_NLD: FloatArray
    num_uncovered: int


def feature_sets(vectors_NLD: FloatArray, learned_L: Doubles | None) -> Iterator[tuple[str, FloatArray]]:
    """Yield ("layer 0", (N, D)), ..., ("equal", (N, D)), ("learned", (N, D)).

    One layer has no mixes; learned_L: the learned mix's weights, None where nothing was learned.
    """
    num_layers = vectors_NLD.shape[1]
    for layer in range(num_layers):
        yield layer_name(layer), np.ascontiguousarray(vectors_NLD[:, layer])
    if num_layers > 1:
        yield EQUAL, vectors_NLD.mean(axis=1)
        if learned_L is not None:
            yield LEARNED, mixed(vectors_NLD, learned_L)


def num_feature_sets(num_layers: int) -> int:
    """How many `feature_sets` yields when there is a learned mix."""
    return num_layers + 2 if num_layers > 1 else 1


def mixed(vectors_NLD: FloatArray, weights_L: Doubles) -> FloatArray:
    """Sum over l of weights[l] * layer l: a new float32 (N, D)."""
    mixed_ND: FloatArray = np.einsum("nld,l->nd", vectors_NLD, weights_L.astype(np.float32))
    return mixed_ND


def pool_spans(sentence: SentenceLayers, spans: Sequence[Span]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Mean over the tokens overlapping each span: float32 (L, S, D); bool (S,), False where there is none."""
    num_layers, _, dim = sentence.layers_LTD.shape
    pooled_LSD = np.zeros((num_layers, len(spans), dim), dtype=np.float32)
    covered_S = np.zeros(len(spans), dtype=np.bool_)
    for s, (start, end) in enumerate(spans):
        overlapping = (sentence.starts < end) & (sentence.ends > start)
        covered_S[s] = overlapping.any()
        if covered_S[s]:
            pooled_LSD[:, s] = sentence.layers_LTD[:, overlapping].mean(axis=1)
    return pooled_LSD, covered_S


def span_vectors(
    source: LayerSource, sentences: Sequence[str], spans: Sequence[Sequence[Span]], bar: tqdm[None]
) -> SpanVectors:
    """Vectors of spans[i] in sentences[i], for every i; `bar` moves by one per sentence.

    Raises ValueError when there is no span at all.
    """
    offsets = np.cumsum([0, *(len(own) for own in spans)])
    if offsets[-1] == 0:
        raise ValueError("expected at least one span to take a vector of, found none")
    # By length, so that a source which batches neighbours pads little; results go where they belong.
    order = sorted(range(len(sentences)), key=lambda i: (len(sentences[i]), i))
    vectors_NLD: FloatArray | None = None
    num_uncovered = 0
    for i, layers in zip(order, source.sentence_layers([sentences[i] for i in order]), strict=True):
        pooled_LSD, covered_S = pool_spans(layers, spans[i])
        if vectors_NLD is None:
            num_layers, _, dim = pooled_LSD.shape
            vectors_NLD = np.empty((int(offsets[-1]), num_layers, dim), dtype=np.float32)
        vectors_NLD[offsets[i] : offsets[i + 1]] = pooled_LSD.swapaxes(0, 1)
        num_uncovered += int((~covered_S).sum())
        bar.update()
    assert vectors_NLD is not None
    return SpanVectors(vectors_NLD, num_uncovered)


def text_vectors(source: LayerSource, texts: Sequence[str], bar: tqdm[None]) -> SpanVectors:
    """The mean of each text's tokens; one without a token has a row of 0."""
    return span_vectors(source, texts, [[(0, len(text))] for text in texts], bar)

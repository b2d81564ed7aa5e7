"""Sentences and spans -> one vector per span and layer; whole sentences' layers are never kept.

Shapes: L layers, S spans of a sentence, N spans of all sentences, D = 2H.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.probes.data import Span
from training.probes.source import FloatArray, LayerSource, SentenceLayers

MIX = "mix"


@dataclass(frozen=True, slots=True)
class SpanVectors:
    """float32 (L, N, D), in the order asked for; the `num_uncovered` spans without a token have rows of 0."""

    vectors_LND: FloatArray
    num_uncovered: int

    def feature_sets(self) -> Iterator[tuple[str, FloatArray]]:
        """Yield ("layer 0", (N, D)), ..., ("mix", (N, D)): each layer, then the equal mix of all."""
        for layer, vectors_ND in enumerate(self.vectors_LND):
            yield layer_name(layer), vectors_ND
        yield MIX, self.vectors_LND.mean(axis=0)


def layer_name(layer: int) -> str:
    return f"layer {layer}"


def feature_set_names(num_vector_layers: int) -> list[str]:
    """The names that `SpanVectors.feature_sets` yields, in order."""
    return [*(layer_name(layer) for layer in range(num_vector_layers)), MIX]


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
    vectors_LND: FloatArray | None = None
    num_uncovered = 0
    for i, layers in zip(order, source.sentence_layers([sentences[i] for i in order]), strict=True):
        pooled_LSD, covered_S = pool_spans(layers, spans[i])
        if vectors_LND is None:
            num_layers, _, dim = pooled_LSD.shape
            vectors_LND = np.empty((num_layers, int(offsets[-1]), dim), dtype=np.float32)
        vectors_LND[:, offsets[i] : offsets[i + 1]] = pooled_LSD
        num_uncovered += int((~covered_S).sum())
        bar.update()
    assert vectors_LND is not None
    return SpanVectors(vectors_LND, num_uncovered)

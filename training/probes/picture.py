"""A word's examples in two dimensions, layer by layer: principal components by numpy.

Shapes: N examples, L layers, D = 2H.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.tasks.report import layer_name
from training.probes.report import Picture
from training.probes.source import Doubles, FloatArray

# More would hide each other.
MAX_POINTS = 300
_DECIMALS = 4


def picture_of(word: str, senses: Sequence[str], vectors_NLD: FloatArray) -> Picture:
    """Each layer on its own two axes; of many examples, evenly spaced ones."""
    step = -(-len(senses) // MAX_POINTS)
    senses, vectors_NLD = senses[::step], vectors_NLD[::step]
    names = sorted(set(senses))
    points = {
        layer_name(layer): main_axes(vectors_NLD[:, layer]).round(_DECIMALS).tolist()
        for layer in range(vectors_NLD.shape[1])
    }
    return Picture(word, names, [names.index(sense) for sense in senses], points)


def main_axes(vectors_ND: FloatArray) -> Doubles:
    """float64 (N, 2): centred vectors of length 1 on their two principal components.

    An axis points where its largest coordinate is positive, so that the same vectors give the same picture.
    """
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    unit_ND = vectors_ND.astype(np.float64) / np.where(lengths_N1 > 0, lengths_N1, 1.0)
    left_NK, sizes_K, _ = np.linalg.svd(unit_ND - unit_ND.mean(axis=0), full_matrices=False)
    points_N2 = np.zeros((len(vectors_ND), 2))
    kept = min(2, len(sizes_K))
    points_N2[:, :kept] = left_NK[:, :kept] * sizes_K[:kept]
    largest_2 = np.abs(points_N2).argmax(axis=0)
    signs_2 = np.where(points_N2[largest_2, [0, 1]] < 0, -1.0, 1.0)
    return points_N2 * signs_2

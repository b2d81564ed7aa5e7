"""Means and spreads of pooled layers, from which every mix's own mean and spread follow without the data.

Shape letters: N examples, L layers, D vector dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.scalar_mix import MAX_COEFFICIENT

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# Rows taken at a time: 128 x 3 x 1024 floats (1.5 MB) stay in a core's cache between the two products of one
# evaluation; twice as many do not, and take 1.5 times as long (measured, two labels).
CHUNK_ROWS = 128
# A layer that varies less than this, beside its own size, is constant: float32 vectors of the same token,
# each the mean of its pieces, differ by rounding.
_CONSTANT = 1e-5


@dataclass(frozen=True, slots=True)
class Moments:
    """mean_LD and covariance_LLD, for each dimension between the layers, of layers divided by `scale_L`.

    scale_L is each layer's spread (root mean square over dimensions), so that equal weights are equal shares:
    a bundle's token layer is often five times as large as its contextual layers.
    """

    mean_LD: Doubles
    covariance_LLD: Doubles
    scale_L: Doubles

    def variance(self, weights_L: Doubles) -> Doubles:
        """Variance of each dimension of the mix, (D), at weights of layers divided by scale_L."""
        variance_D: Doubles = np.einsum("l,m,lmd->d", weights_L, weights_L, self.covariance_LLD)
        return variance_D

    def served_variance(self, weights_L: Doubles) -> float:
        """Variance, in the mean over dimensions, of the mix at weights of layers as they came."""
        return float(self.variance(weights_L * self.scale_L).mean())

    def size(self) -> Doubles:
        """Root mean square of each layer's values as they came, (L); 1 for a layer of zeros."""
        square_LD = self.mean_LD**2 + np.einsum("lld->ld", self.covariance_LLD)
        size_L = np.sqrt(square_LD.mean(axis=1)) * self.scale_L
        return np.where(size_L > 0, size_L, 1.0)

    def layer(self, layer: int) -> Moments:
        """The moments of one layer alone."""
        only = slice(layer, layer + 1)
        return Moments(self.mean_LD[only], self.covariance_LLD[only, only], self.scale_L[only])

    def equal_mix(self) -> Moments:
        """The moments of the mean of the layers as they came, as those of a single layer."""
        weights_L = self.scale_L / len(self.scale_L)
        mean_D, variance_D = weights_L @ self.mean_LD, self.variance(weights_L)
        return Moments(mean_D[None], variance_D[None, None], np.ones(1))


def unit_gamma(variance: float) -> float:
    """Return the gamma that gives vectors of this variance a spread of 1: a head needs none, other users
    do."""
    return min(1 / float(np.sqrt(variance)), MAX_COEFFICIENT) if variance > 0 else 1.0


def chunks(end: int, begin: int = 0) -> Iterator[slice]:
    """Yield the rows of each chunk, from `begin` to `end`."""
    for start in range(begin, end, CHUNK_ROWS):
        yield slice(start, min(start + CHUNK_ROWS, end))


def measure(features_NLD: Floats, check: Callable[[], None]) -> Moments:
    """One pass over the features; `check` is called for every chunk and may raise.

    Raises ValueError when a value is not finite, or when no layer varies.
    """
    num_examples, num_layers, dim = features_NLD.shape
    # Sums are taken about the first chunk's mean: squares of values far from it would lose their digits.
    centre_LD = features_NLD[:CHUNK_ROWS].mean(axis=0, dtype=np.float64).astype(np.float32)
    sum_LD = np.zeros((num_layers, dim))
    products_LLD = np.zeros((num_layers, num_layers, dim))
    for rows in chunks(num_examples):
        check()
        centred_nLD = features_NLD[rows] - centre_LD
        sum_LD += centred_nLD.sum(axis=0, dtype=np.float64)
        for a in range(num_layers):
            for b in range(a + 1):
                products_LLD[a, b] += np.einsum("nd,nd->d", centred_nLD[:, a], centred_nLD[:, b])
    if not (np.isfinite(sum_LD).all() and np.isfinite(products_LLD).all()):
        raise ValueError("features: expected finite numbers, got some that are not")
    offset_LD = sum_LD / num_examples
    covariance_LLD = products_LLD / num_examples
    for a in range(num_layers):
        for b in range(a + 1):
            covariance_LLD[a, b] -= offset_LD[a] * offset_LD[b]
            covariance_LLD[b, a] = covariance_LLD[a, b]
    return _scaled(offset_LD + centre_LD, covariance_LLD)


def _scaled(mean_LD: Doubles, covariance_LLD: Doubles) -> Moments:
    variance_LD = np.maximum(np.einsum("lld->ld", covariance_LLD), 0)
    spread_L = np.sqrt(variance_LD.mean(axis=1))
    size_L = np.sqrt((mean_LD**2 + variance_LD).mean(axis=1))
    varies_L = spread_L > _CONSTANT * size_L
    if not varies_L.any():
        raise ValueError(
            f"features: expected vectors that differ between examples, got {len(spread_L)} constant layers"
        )
    # A constant layer tells nothing; scaled like the largest, it gets no weight for being small.
    scale_L = np.where(varies_L, spread_L, spread_L.max())
    pairs_LL1 = (scale_L[:, None] * scale_L)[:, :, None]
    return Moments(mean_LD / scale_L[:, None], covariance_LLD / pairs_LL1, scale_L)

"""The learned mix, from training examples alone: by the code that learns a task for the service.

Labels: model/tasks/fit.py (mix and linear head jointly). Senses: model/tasks/sense_mix.py (nearest means).
Pairs, which the service has no task for: the weights whose cosine correlates best with the pairs' numbers.

Shapes: N examples, L layers, D = 2H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize

from model.scalar_mix import softmax_weights
from model.tasks.examples import Examples
from model.tasks.fit import fit
from model.tasks.moments import measure
from model.tasks.sense_mix import Products, learn_mix_and_context
from model.tasks.sense_words import Inventory
from model.tasks.watch import Watch
from training.probes.source import Doubles, FloatArray, IntArray

# So many examples settle two or three weights; the probe itself sees more.
MAX_EXAMPLES = 10_000
MAX_DEV_EXAMPLES = 2_000
# Starts of the cosine's mix: equal shares, and each layer with nine tenths of three.
_NEARLY_ALONE = 3.0
_TINY = 1e-30


@dataclass(frozen=True, slots=True)
class LearnedMix:
    """weights_L: of the layers as they come, as a request takes them; they sum to 1, without that of a global
    context after them.

    shares_L: of the layers each brought to the same spread, which says how much of the mix a layer is.
    """

    weights_L: Doubles
    shares_L: Doubles

    @classmethod
    def of(cls, weights_L: Doubles, spread_L: Doubles) -> LearnedMix:
        parts_L = weights_L * spread_L
        return cls(weights_L, parts_L / parts_L.sum())


def learn_label_mix(
    kind: Literal["classify", "tag"],
    train: tuple[FloatArray, Sequence[str]],
    dev: tuple[FloatArray, Sequence[str]],
    groups: Sequence[int] | None = None,
) -> LearnedMix | None:
    """Of the first examples of train; dev chooses the regularisation. None for a single layer.

    groups: examples of one group belong together (the words of a sentence).
    """
    if train[0].shape[1] == 1:
        return None
    features_NLD, labels = train[0][:MAX_EXAMPLES], train[1][:MAX_EXAMPLES]
    held_out = Examples(dev[0][:MAX_DEV_EXAMPLES], dev[1][:MAX_DEV_EXAMPLES])
    own = None if groups is None else groups[:MAX_EXAMPLES]
    fitted = fit(kind, features_NLD, labels, groups=own, dev=held_out)
    return LearnedMix.of(softmax_weights(fitted.scalars), _spread(features_NLD))


def learn_sense_mixes(
    features_NCD: FloatArray, words: Sequence[str], senses: Sequence[str]
) -> tuple[LearnedMix, LearnedMix] | None:
    """The mix of the layers, and the same with the global context that stands after them in features_NCD.

    None for a single layer. Raises ValueError when no word has two senses, one of them of two examples.
    """
    if features_NCD.shape[1] == 2:
        return None
    watch = Watch(lambda share: None, lambda: False)
    # Cosines are of vectors as they are, mean included, so their size is what layers are divided by.
    size_C = measure(features_NCD, watch.check).size()
    inventory = Inventory.of(words, senses)
    products = Products.take(features_NCD, np.arange(len(features_NCD)), inventory, size_C)
    scalars_L, global_context = learn_mix_and_context(products, size_C, watch)
    weights_L = softmax_weights(scalars_L)
    with_text = LearnedMix.of(np.append(weights_L, global_context), size_C)
    return LearnedMix.of(weights_L, size_C[:-1]), with_text


def learn_cosine_mix(first_NLD: FloatArray, second_NLD: FloatArray, scores_N: Doubles) -> LearnedMix | None:
    """The mix whose cosines have the highest Pearson correlation with scores_N. None for a single layer."""
    num_layers = first_NLD.shape[1]
    if num_layers == 1:
        return None
    size_L = np.sqrt(0.5 * (_mean_square(first_NLD) + _mean_square(second_NLD)))
    products = CosineProducts.take(first_NLD, second_NLD, size_L)
    best = None
    for start_L in (np.zeros(num_layers), *(_NEARLY_ALONE * np.eye(num_layers))):
        found = minimize(
            lambda scalars_L: products.loss_and_gradient(scalars_L, scores_N),
            start_L - start_L.mean(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(-10.0, 10.0)] * num_layers,
        )
        if best is None or found.fun < best.fun - 1e-9:
            best = found
    assert best is not None
    return LearnedMix.of(softmax_weights(best.x - np.log(size_L)), size_L)


@dataclass(frozen=True, slots=True)
class CosineProducts:
    """Inner products between layers: across a pair, and of each side with itself; symmetric in the layers."""

    cross_NLL: Doubles
    first_NLL: Doubles
    second_NLL: Doubles

    @classmethod
    def take(cls, first_NLD: FloatArray, second_NLD: FloatArray, size_L: Doubles) -> CosineProducts:
        """size_L: what layers are divided by."""
        cross_NLL = _products(first_NLD, second_NLD, size_L)
        return cls(
            0.5 * (cross_NLL + cross_NLL.swapaxes(1, 2)),
            _products(first_NLD, first_NLD, size_L),
            _products(second_NLD, second_NLD, size_L),
        )

    def loss_and_gradient(self, scalars_L: Doubles, scores_N: Doubles) -> tuple[float, Doubles]:
        """Minus the correlation, at the mix softmax(scalars_L), and its gradient in the scalars."""
        weights_L = softmax_weights(scalars_L)
        half_a_NL, half_b_NL, half_c_NL = (
            products_NLL @ weights_L for products_NLL in (self.cross_NLL, self.first_NLL, self.second_NLL)
        )
        b_N = np.maximum(half_b_NL @ weights_L, _TINY)
        c_N = np.maximum(half_c_NL @ weights_L, _TINY)
        length_N = np.sqrt(b_N * c_N)
        cosine_N = (half_a_NL @ weights_L) / length_N
        centred_N, target_N = cosine_N - cosine_N.mean(), scores_N - scores_N.mean()
        size = max(float(np.linalg.norm(centred_N)), _TINY)
        centred_N = centred_N / size
        target_N = target_N / max(float(np.linalg.norm(target_N)), _TINY)
        correlation = float(centred_N @ target_N)
        by_cosine_N = (target_N - correlation * centred_N) / size
        gradient_weights_L = 2 * (by_cosine_N / length_N) @ half_a_NL
        gradient_weights_L -= (by_cosine_N * cosine_N / b_N) @ half_b_NL
        gradient_weights_L -= (by_cosine_N * cosine_N / c_N) @ half_c_NL
        gradient_L = weights_L * (gradient_weights_L - weights_L @ gradient_weights_L)
        return -correlation, -gradient_L


def _products(one_NLD: FloatArray, other_NLD: FloatArray, size_L: Doubles) -> Doubles:
    products_NLL = np.einsum("nad,nbd->nab", one_NLD, other_NLD, dtype=np.float64)
    scaled_NLL: Doubles = products_NLL / (size_L[:, None] * size_L)
    return scaled_NLL


def _mean_square(vectors_NLD: FloatArray) -> Doubles:
    square_L = np.einsum("nld,nld->l", vectors_NLD, vectors_NLD, dtype=np.float64)
    mean_L: Doubles = np.maximum(square_L / (vectors_NLD.shape[0] * vectors_NLD.shape[2]), _TINY)
    return mean_L


def _spread(features_NLD: FloatArray) -> Doubles:
    return measure(features_NLD, lambda: None).scale_L


def group_ids(sizes: Sequence[int]) -> IntArray:
    """0 for each example of the first group, 1 for each of the second, and so on."""
    return np.repeat(np.arange(len(sizes)), sizes)

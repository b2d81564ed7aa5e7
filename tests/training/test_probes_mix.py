from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from training.probes.mix import (
    CosineProducts,
    LearnedMix,
    group_ids,
    learn_cosine_mix,
    learn_label_mix,
    learn_sense_mixes,
)
from training.probes.pairs import cosines
from training.probes.source import FloatArray

# Layer 1 is ten times as large as layer 0; layer 2 alone tells anything.
SIZES = np.array([1.0, 10.0, 0.5], dtype=np.float32)


def noise(num_examples: int, seed: int, num_layers: int = 3) -> FloatArray:
    random = np.random.default_rng(seed)
    values = random.standard_normal((num_examples, num_layers, 6), dtype=np.float32)
    return values * SIZES[:num_layers, None]


def labelled(num_examples: int, seed: int) -> tuple[FloatArray, list[str]]:
    features_NLD = noise(num_examples, seed)
    return features_NLD, ["up" if value > 0 else "down" for value in features_NLD[:, 2, 0]]


def test_shares_are_weights_of_layers_of_one_spread() -> None:
    mix = LearnedMix.of(np.array([0.5, 0.5]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(mix.weights_L, [0.5, 0.5])
    np.testing.assert_allclose(mix.shares_L, [0.75, 0.25])


def test_labels_find_the_layer_that_knows_them() -> None:
    groups = group_ids([2] * 200).tolist()
    for mix in (
        learn_label_mix("classify", labelled(400, 1), labelled(100, 2)),
        learn_label_mix("tag", labelled(400, 1), labelled(100, 2), groups),
    ):
        assert mix is not None
        assert mix.shares_L[2] > 0.8
        assert mix.weights_L.sum() == pytest.approx(1)


def test_senses_find_the_layer_that_knows_them() -> None:
    features_NCD = noise(200, 3)
    senses = ["up" if i % 2 else "down" for i in range(200)]
    features_NCD[:, 1, 0] = [30 if i % 2 else -30 for i in range(200)]
    mixes = learn_sense_mixes(features_NCD, ["w"] * 200, senses)
    assert mixes is not None
    alone, with_text = mixes
    assert alone.shares_L.argmax() == 1
    assert with_text.weights_L[:2].tolist() == alone.weights_L.tolist()
    assert with_text.shares_L.argmax() == 1


def test_cosines_find_the_layer_that_knows_them() -> None:
    first, second = noise(300, 4), noise(300, 5)
    scores_N = cosines(first[:, 2], second[:, 2])
    mix = learn_cosine_mix(first, second, scores_N)
    assert mix is not None
    assert mix.shares_L[2] > 0.99


def test_the_gradient_of_the_correlation_is_its_slope() -> None:
    first, second = noise(50, 6), noise(50, 7)
    products = CosineProducts.take(first, second, SIZES.astype(np.float64))
    scores_N = np.random.default_rng(8).standard_normal(50)
    at = np.array([0.3, -0.2, 0.5])
    _, gradient_L = products.loss_and_gradient(at, scores_N)
    slope_L = approx_fprime(at, lambda s: products.loss_and_gradient(s, scores_N)[0], 1e-6)
    np.testing.assert_allclose(gradient_L, slope_L, atol=1e-6)
    weights_L = np.exp(at) / np.exp(at).sum() / SIZES
    mixed = [np.einsum("nld,l->nd", side, weights_L).astype(np.float32) for side in (first, second)]
    expected = np.corrcoef(cosines(mixed[0], mixed[1]), scores_N)[0, 1]
    assert -products.loss_and_gradient(at, scores_N)[0] == pytest.approx(expected, abs=1e-5)


def test_of_one_layer_there_is_nothing_to_mix() -> None:
    one = noise(20, 9, num_layers=1)
    assert learn_label_mix("classify", (one, ["a"] * 20), (one, ["a"] * 20)) is None
    assert learn_sense_mixes(noise(20, 9, num_layers=2), ["w"] * 20, ["a"] * 20) is None
    assert learn_cosine_mix(one, one, np.zeros(20)) is None


def test_group_numbers() -> None:
    assert group_ids([2, 0, 3]).tolist() == [0, 0, 2, 2, 2]

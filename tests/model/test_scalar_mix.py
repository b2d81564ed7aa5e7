from __future__ import annotations

import math

import numpy as np
import pytest

from model.scalar_mix import check_mix, mix, softmax_weights


def test_softmax_weights() -> None:
    scalars = [0.5, -1.0, 2.0]
    total = math.exp(0.5) + math.exp(-1.0) + math.exp(2.0)
    expected = [math.exp(0.5) / total, math.exp(-1.0) / total, math.exp(2.0) / total]
    np.testing.assert_allclose(softmax_weights(scalars), expected, rtol=1e-15)


def test_softmax_weights_of_equal_scalars_are_equal() -> None:
    np.testing.assert_array_equal(softmax_weights([7.0, 7.0, 7.0, 7.0]), 0.25)


def test_softmax_weights_of_extreme_scalars() -> None:
    np.testing.assert_array_equal(softmax_weights([1e308, -1e308, 0.0]), [1, 0, 0])
    np.testing.assert_array_equal(softmax_weights([1000.0, 1000.0]), 0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_softmax_weights_need_finite_scalars(value: float) -> None:
    with pytest.raises(ValueError, match=rf"^scalars\[1\]: expected a finite number, got {value}$"):
        softmax_weights([0.0, value])


def test_softmax_weights_need_a_row() -> None:
    with pytest.raises(
        ValueError, match=r"^scalars: expected one or more numbers in a row, got shape \(0,\)$"
    ):
        softmax_weights([])
    with pytest.raises(ValueError, match=r"got shape \(2, 2\)$"):
        softmax_weights(np.zeros((2, 2)))


def test_mix_is_the_formula() -> None:
    generator = np.random.default_rng(0)
    layers_LTD = generator.standard_normal((3, 4, 6)).astype(np.float32)
    weights, gamma = [0.2, 0.3, -0.7], 1.7
    mixed_TD = mix(layers_LTD, weights, gamma)
    assert mixed_TD.dtype == np.float32
    for t in range(4):
        for d in range(6):
            expected = gamma * sum(w * float(layers_LTD[i, t, d]) for i, w in enumerate(weights))
            assert mixed_TD[t, d] == pytest.approx(expected, abs=1e-6)


def test_one_layer_alone_is_that_layer() -> None:
    layers_LTD = np.random.default_rng(1).standard_normal((3, 5, 8)).astype(np.float32)
    for layer in range(3):
        np.testing.assert_array_equal(mix(layers_LTD, np.eye(3)[layer], 1.0), layers_LTD[layer])


def test_mix_of_no_tokens() -> None:
    assert mix(np.zeros((3, 0, 8), dtype=np.float32), [1.0, 1.0, 1.0], 1.0).shape == (0, 8)


def test_check_mix_needs_one_weight_for_each_layer() -> None:
    with pytest.raises(ValueError, match=r"^weights: expected 3, one for each layer, got 2$"):
        check_mix([0.5, 0.5], 1.0, 3)
    with pytest.raises(ValueError, match=r"^weights: expected 3, one for each layer, got 0$"):
        check_mix([], 1.0, 3)
    with pytest.raises(ValueError, match=r"^weights: expected 3, one for each layer, got shape \(3, 1\)$"):
        check_mix(np.ones((3, 1)), 1.0, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e6, -1.1e6])
def test_check_mix_needs_numbers_that_can_be_used(value: float) -> None:
    with pytest.raises(
        ValueError, match=r"^weights\[2\]: expected a number from -1,000,000 to 1,000,000, got "
    ):
        check_mix([0.1, 0.2, value], 1.0, 3)
    with pytest.raises(ValueError, match=r"^gamma: expected a number from -1,000,000 to 1,000,000, got "):
        check_mix([0.1, 0.2, 0.3], value, 3)


def test_check_mix_takes_any_usable_number() -> None:
    check_mix([0.0, -2.5, 1e6], -1e6, 3)
    check_mix(np.array([1, 0], dtype=np.float32), 0.0, 2)


def test_the_largest_mix_stays_finite() -> None:
    layers_LTD = np.full((3, 1, 2), 100, dtype=np.float32)
    assert np.isfinite(mix(layers_LTD, [1e6, 1e6, 1e6], 1e6)).all()

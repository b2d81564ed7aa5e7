from __future__ import annotations

import math

import numpy as np
import pytest

from model.tasks.calibration import (
    Scored,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    log_losses,
    pooled,
)


def over_confident(num_examples: int = 2000, factor: float = 4.0) -> Scored:
    """Targets drawn from softmax(scores / factor), so that `factor` is the right temperature."""
    generator = np.random.default_rng(0)
    scores_NK = generator.standard_normal((num_examples, 3)) * 6
    exact = Scored(scores_NK, np.zeros((num_examples, 3)), np.zeros(num_examples, dtype=np.int64))
    cumulative = exact.probabilities(factor).cumsum(axis=1)
    targets_N = (generator.random((num_examples, 1)) > cumulative).sum(axis=1)
    return Scored(scores_NK, np.zeros((num_examples, 3)), np.minimum(targets_N, 2))


def test_the_right_temperature_is_found() -> None:
    assert fit_temperature(over_confident()) == pytest.approx(4.0, rel=0.1)


def test_calibration_helps_examples_that_had_no_say_in_it() -> None:
    scored = over_confident()
    before = expected_calibration_error(scored.probabilities(1.0), scored.targets_N)
    after = expected_calibration_error(cross_fitted([scored]), scored.targets_N)
    assert before > 0.2
    assert after < 0.04


def test_a_half_is_judged_by_the_other_halfs_temperature() -> None:
    scored = over_confident(200)
    even, odd = np.arange(0, 200, 2), np.arange(1, 200, 2)
    expected = scored.rows(even).probabilities(fit_temperature(scored.rows(odd)))
    np.testing.assert_array_equal(cross_fitted([scored])[even], expected)


def test_probabilities_are_the_formula() -> None:
    scored = Scored(np.array([[2.0, 4.0]]), np.log([[0.9, 0.1]]), np.array([1]))
    odds = 0.9 * math.exp(1.0), 0.1 * math.exp(2.0)
    np.testing.assert_allclose(scored.probabilities(2.0), [[odds[0] / sum(odds), odds[1] / sum(odds)]])


def test_a_label_that_is_no_choice_has_no_probability() -> None:
    scored = Scored(np.array([[0.5, 1.0, -np.inf]]), np.zeros((1, 3)), np.array([0]))
    for temperature in (1e-3, 1.0, 1e6):
        probabilities = scored.probabilities(temperature)[0]
        assert probabilities[2] == 0.0
        assert probabilities.sum() == pytest.approx(1.0)


def test_expected_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.92, 0.08], [0.35, 0.65], [0.0, 1.0]])
    targets = np.array([0, 1, 1, 1])
    # Bin 9: 0.95, 0.92 and 1.0, two right of three; bin 6: 0.65, right.
    expected = (abs(0.95 + 0.92 + 1.0 - 2) + abs(0.65 - 1)) / 4
    assert expected_calibration_error(probabilities, targets) == pytest.approx(expected)


def test_labels_that_the_fit_does_not_know_are_wrong_and_have_no_loss() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    np.testing.assert_allclose(log_losses(probabilities, np.array([-1, 0])), [math.log(4)])
    unknown = Scored(np.zeros((2, 2)), np.zeros((2, 2)), np.array([-1, -1]))
    assert fit_temperature(unknown) == 1.0
    assert expected_calibration_error(unknown.probabilities(1.0), unknown.targets_N) == 0.5


def test_pooled_keeps_order() -> None:
    scored = over_confident(10)
    both = pooled([scored.rows(np.arange(4)), scored.rows(np.arange(4, 10))])
    np.testing.assert_array_equal(both.scores_NK, scored.scores_NK)
    np.testing.assert_array_equal(both.targets_N, scored.targets_N)


def test_all_right_is_not_certainty() -> None:
    """A half without errors must not make the other half's first error infinitely dear."""
    scores_NK = np.tile([[3.0, -3.0]], (100, 1))
    targets_N = np.zeros(100, dtype=np.int64)
    scored = Scored(scores_NK, np.zeros((100, 2)), targets_N)
    sure = scored.probabilities(fit_temperature(scored))[0, 0]
    assert sure == pytest.approx(101 / 102, abs=1e-4)
    targets_N[1] = 1
    assert log_losses(cross_fitted([scored]), targets_N).max() < 5


def test_log_probabilities_are_the_logarithms() -> None:
    scored = Scored(np.array([[1.0, 2.0, -np.inf], [0.0, 900.0, 3.0]]), np.zeros((2, 3)), np.array([0, 1]))
    with np.errstate(divide="ignore"):
        expected = np.log(scored.probabilities(3.0))
    np.testing.assert_allclose(scored.log_probabilities(3.0), expected, rtol=1e-12, atol=1e-12)
    assert scored.log_probabilities(0.001)[1, 0] == -900_000


def test_the_way_to_score_is_chosen_by_the_other_half() -> None:
    """Each of two ways is right in one half alone: each half gets the way that is wrong in it."""
    targets_N = np.zeros(40, dtype=np.int64)
    even_N = np.arange(40) % 2 == 0
    right, wrong = np.array([3.0, -3.0]), np.array([-3.0, 3.0])
    ways = [
        Scored(np.where(which[:, None], right, wrong), np.zeros((40, 2)), targets_N)
        for which in (even_N, ~even_N)
    ]
    probabilities_NK = cross_fitted(ways)
    assert (probabilities_NK.argmax(axis=1) == 1).all()
    np.testing.assert_array_equal(
        probabilities_NK[even_N], ways[1].rows(even_N).probabilities(fit_temperature(ways[1].rows(~even_N)))
    )

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.special import ndtr

from model.tasks.statistics import (
    Doubles,
    Integers,
    chance_of_lower_loss,
    chance_of_more_right,
    chance_of_so_low_a_loss,
    difference_interval,
    macro_recall,
    wilson_interval,
)


def test_wilson_interval() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table 1: 81 of 263; 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(20, 20)[1] == 1.0


def test_macro_recall_counts_every_label_alike() -> None:
    right = np.array([True] * 90 + [False] * 10)
    labels = np.array([0] * 90 + [1] * 10)
    assert macro_recall(right, labels) == 0.5


def test_difference_interval() -> None:
    one = np.array([True] * 60 + [False] * 20 + [True] * 20)
    other = np.array([True] * 60 + [True] * 5 + [False] * 35)
    difference, low, high = difference_interval(one, other)
    assert difference == pytest.approx(0.15)
    assert 0.04 < low < 0.15 < high < 0.26
    same, low, high = difference_interval(one, one)
    assert same == 0.0
    assert low == -high
    assert high > 0


def test_mcnemar_is_the_binomial_tail() -> None:
    one = np.array([True] * 8 + [False] * 2 + [True] * 5)
    other = np.array([False] * 8 + [True] * 2 + [True] * 5)
    # At least 8 of 10 tosses.
    assert chance_of_more_right(one, other) == pytest.approx((45 + 10 + 1) / 1024)
    assert chance_of_more_right(other, one) == pytest.approx(1 - (10 + 1) / 1024)
    assert chance_of_more_right(one, one) == 1.0


def test_paired_t() -> None:
    losses = np.zeros(4)
    # Mean 2.5, standard error sqrt(5 / 3 / 4), 3 degrees of freedom: t = 3.873; tables give 0.0152 one-sided.
    assert chance_of_lower_loss(losses, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.0152, abs=1e-4)
    assert chance_of_lower_loss(losses, losses + 1) == 0.0
    assert chance_of_lower_loss(losses, losses) == 1.0
    assert chance_of_lower_loss(losses[:1], losses[:1] + 1) == 1.0


def told(share_right: float, seed: int, num_examples: int = 100) -> tuple[Doubles, Integers]:
    """Probabilities of 0.8 for the right one of two labels in a share of examples, else for the wrong one."""
    generator = np.random.default_rng(seed)
    targets_N = generator.integers(0, 2, num_examples)
    told_N = np.where(generator.random(num_examples) < share_right, targets_N, 1 - targets_N)
    return np.where(np.arange(2) == told_N[:, None], 0.8, 0.2), targets_N


def test_labels_dealt_out_anew() -> None:
    strata = np.zeros(100, dtype=np.int64)
    assert chance_of_so_low_a_loss(*told(0.95, 0), strata, is_cross_fitted=False) < 1e-6
    assert chance_of_so_low_a_loss(*told(0.05, 0), strata, is_cross_fitted=False) > 0.999
    probabilities, targets = told(0.62, 0)
    # The same as of the correlation between two dichotomies, whose square times n - 1 is dealt about 1.
    z = np.corrcoef(probabilities[:, 1], targets)[0, 1] * np.sqrt(99)
    chance = chance_of_so_low_a_loss(probabilities, targets, strata, is_cross_fitted=False)
    assert chance == pytest.approx(float(ndtr(-z)), rel=1e-6)
    twice = chance_of_so_low_a_loss(probabilities, targets, strata, is_cross_fitted=True)
    assert twice == pytest.approx(float(ndtr(-z / np.sqrt(2))), rel=1e-6)


def test_dealing_is_fair() -> None:
    chances = [
        chance_of_so_low_a_loss(*told(0.5, seed), np.zeros(100, dtype=np.int64), is_cross_fitted=False)
        for seed in range(200)
    ]
    # 5% of 200 are 10, give or take 3.
    assert 3 <= sum(chance < 0.05 for chance in chances) <= 18
    assert 0.4 < np.mean(chances) < 0.6


def test_dealing_has_the_moments_of_all_orders() -> None:
    """Of five examples in two strata, all 2! x 3! dealings."""
    generator = np.random.default_rng(3)
    probabilities = generator.dirichlet(np.ones(3), 5)
    targets, strata = np.array([0, 1, 0, 2, 2]), np.array([7, 7, 4, 4, 4])
    sums = [
        np.log(probabilities[np.arange(5), targets[[*first, *second]]]).sum()
        for first in permutations((0, 1))
        for second in permutations((2, 3, 4))
    ]
    expected = ndtr((np.mean(sums) - sums[0]) / np.std(sums))
    chance = chance_of_so_low_a_loss(probabilities, targets, strata, is_cross_fitted=False)
    assert chance == pytest.approx(float(expected), rel=1e-9)


def test_dealing_stays_within_a_stratum() -> None:
    """Where a stratum has one label only, nothing can be dealt otherwise."""
    probabilities, targets = told(1.0, 0)
    assert chance_of_so_low_a_loss(probabilities, targets, targets, is_cross_fitted=False) == 1.0
    alike = np.full((100, 2), 0.5)
    assert chance_of_so_low_a_loss(alike, targets, np.zeros_like(targets), is_cross_fitted=False) == 1.0
    nothing = np.full(100, -1)
    assert chance_of_so_low_a_loss(alike, nothing, np.zeros_like(targets), is_cross_fitted=False) == 1.0

from __future__ import annotations

import numpy as np
import pytest

from model.tasks.statistics import (
    chance_of_lower_loss,
    chance_of_more_right,
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

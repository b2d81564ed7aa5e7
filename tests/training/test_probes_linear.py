from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from training.probes.linear import (
    ROWS_PER_BLOCK,
    Standardiser,
    _mean_log_loss,
    fit_logistic,
    fit_with_best_c,
)
from training.probes.source import FloatArray, IntArray


def floats(values: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def noisy_problem(num_examples: int, dim: int, num_classes: int, seed: int) -> tuple[FloatArray, IntArray]:
    random = np.random.default_rng(seed)
    x_ND = random.standard_normal((num_examples, dim)).astype(np.float32)
    weight_DK = np.random.default_rng(99).standard_normal((dim, num_classes))
    labels_N = np.argmax(x_ND @ weight_DK + 2 * random.gumbel(size=(num_examples, num_classes)), axis=1)
    return x_ND, labels_N


@pytest.mark.parametrize("c", [0.001, 0.03, 1.0])
def test_the_fit_is_scikit_learns(c: float) -> None:
    x_ND, labels_N = noisy_problem(ROWS_PER_BLOCK + 100, 12, 4, seed=1)
    ours = fit_logistic(x_ND, labels_N, 4, c)
    theirs = LogisticRegression(C=c, max_iter=100).fit(x_ND.astype(np.float64), labels_N)
    np.testing.assert_allclose(ours.weight_DK.T, theirs.coef_, atol=2e-3 * np.abs(theirs.coef_).max())
    np.testing.assert_allclose(ours.bias_K, theirs.intercept_, atol=5e-3)
    assert ours.num_steps == theirs.n_iter_[0]
    assert np.mean(ours.predict(x_ND) == theirs.predict(x_ND)) == 1.0


def test_the_gradient_is_that_of_the_loss() -> None:
    x_ND, labels_N = noisy_problem(ROWS_PER_BLOCK + 7, 3, 3, seed=2)
    parameters = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    scores_NK = (x_ND @ parameters[:3] + parameters[3]).astype(np.float64)
    expected = np.mean(np.log(np.exp(scores_NK).sum(axis=1)) - scores_NK[np.arange(len(x_ND)), labels_N])
    loss, gradient = _mean_log_loss(x_ND, labels_N, parameters)
    assert loss == pytest.approx(expected, rel=1e-6)
    for row, column in np.ndindex(4, 3):
        step = np.zeros_like(parameters)
        step[row, column] = 1e-2
        above, below = (_mean_log_loss(x_ND, labels_N, parameters + sign * step)[0] for sign in (1, -1))
        assert gradient[row, column] == pytest.approx((above - below) / 2e-2, abs=1e-4)


def test_separable_data_is_separated_and_noise_is_not() -> None:
    random = np.random.default_rng(4)
    labels_N = np.arange(300) % 3
    x_ND = (np.eye(3)[labels_N] + 0.1 * random.standard_normal((300, 3))).astype(np.float32)
    assert fit_logistic(x_ND, labels_N, 3, 1.0).accuracy(x_ND, labels_N) == 1.0
    noise_ND = random.standard_normal((300, 3)).astype(np.float32)
    assert fit_logistic(noise_ND, labels_N, 3, 1.0).accuracy(noise_ND, labels_N) < 0.5


def test_large_scores_do_not_overflow() -> None:
    x_ND = floats([[1000.0], [-1000.0]])
    loss, gradient = _mean_log_loss(x_ND, np.array([1, 0]), floats([[1.0, -1.0], [0.0, 0.0]]))
    assert loss == 2000.0
    assert np.isfinite(gradient).all()


def test_two_classes_have_a_weight_vector_each() -> None:
    x_ND = floats([[1.0], [2.0], [-1.0], [-2.0]])
    fit = fit_logistic(x_ND, np.array([1, 1, 0, 0]), 2, 1.0)
    assert fit.weight_DK[0, 0] == pytest.approx(-fit.weight_DK[0, 1], rel=1e-5)
    assert fit.predict(x_ND).tolist() == [1, 1, 0, 0]


def test_steps_are_limited() -> None:
    x_ND, labels_N = noisy_problem(200, 8, 3, seed=5)
    assert fit_logistic(x_ND, labels_N, 3, 100.0, max_steps=2).num_steps == 2


def test_standardising_is_scikit_learns_and_leaves_constants_at_zero() -> None:
    x_ND = (np.random.default_rng(6).standard_normal((50, 3)) * [1, 5, 0] + [0, 3, 0.1]).astype(np.float32)
    standardise = Standardiser.fit(x_ND)
    np.testing.assert_allclose(
        standardise(x_ND)[:, :2], StandardScaler().fit_transform(x_ND)[:, :2], atol=1e-6
    )
    np.testing.assert_allclose(standardise(x_ND)[:, 2], 0, atol=1e-6)
    np.testing.assert_allclose(standardise(floats([[0, 3, 1.1]]))[:, 2], 1.0, atol=1e-6)


def test_c_is_chosen_on_dev_and_of_equals_the_smallest() -> None:
    train = noisy_problem(150, 20, 3, seed=7)
    dev = noisy_problem(400, 20, 3, seed=8)
    chosen = fit_with_best_c(train, dev, 3, c_values=(1e3, 1e-6, 0.03), num_threads=2)
    accuracies = {c: fit_logistic(*train, 3, c).accuracy(*dev) for c in (1e-6, 0.03, 1e3)}
    assert chosen.dev_accuracy == max(accuracies.values())
    assert chosen.c == max(accuracies, key=lambda c: accuracies[c])

    labels_N = np.arange(90) % 3
    separable = np.eye(3, dtype=np.float32)[labels_N], labels_N
    assert fit_with_best_c(separable, separable, 3).c == 0.001


def test_the_same_fit_twice_is_the_same_to_the_last_bit() -> None:
    train, dev = noisy_problem(700, 16, 4, seed=9), noisy_problem(100, 16, 4, seed=10)
    first, second = (fit_with_best_c(train, dev, 4, num_threads=threads).classifier for threads in (1, 3))
    np.testing.assert_array_equal(first.weight_DK, second.weight_DK)
    np.testing.assert_array_equal(first.bias_K, second.bias_K)


def test_a_label_unseen_in_training_is_never_right() -> None:
    x_ND = floats([[1.0], [-1.0]])
    fit = fit_logistic(x_ND, np.array([0, 1]), 2, 1.0)
    assert fit.accuracy(x_ND, np.array([0, -1])) == 0.5


def test_no_c_is_refused() -> None:
    problem = noisy_problem(10, 2, 2, seed=11)
    with pytest.raises(ValueError, match="at least one value of C"):
        fit_with_best_c(problem, problem, 2, c_values=())

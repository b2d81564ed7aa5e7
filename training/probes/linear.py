"""The linear probe: standardised features, multinomial logistic regression, C chosen on held-out examples.

The objective is scikit-learn's, up to a constant factor: C * sum of log losses + |W|^2 / 2, biases free, each
class with a weight vector of its own (of two classes too); its L-BFGS with its tolerances.
Shapes: N examples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.probes.source import FloatArray, IntArray

C_VALUES = (0.001, 0.03, 1.0)
MAX_STEPS = 100
# Rows taken at a time: 512 x 1024 floats (2 MB) stay in a core's cache between the two products of one
# evaluation (measured on 40,000 x 1024, 17 classes: a fifth faster than all rows at once).
ROWS_PER_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Standardiser:
    """(x - mean) / standard deviation, both of the training examples; a constant feature is only centred."""

    mean_D: FloatArray
    scale_D: FloatArray

    @classmethod
    def fit(cls, x_ND: FloatArray) -> Standardiser:
        mean_D = x_ND.mean(axis=0, dtype=np.float64)
        deviation_D = x_ND.std(axis=0, dtype=np.float64, mean=mean_D[None])
        # Below float32's resolution of the values themselves, the spread is rounding.
        constant_D = deviation_D <= np.finfo(np.float32).eps * np.maximum(np.abs(mean_D), 1e-30)
        return cls(mean_D.astype(np.float32), np.where(constant_D, 1.0, deviation_D).astype(np.float32))

    def __call__(self, x_ND: FloatArray) -> FloatArray:
        """Return a new float32 (N, D)."""
        standardised = x_ND - self.mean_D
        standardised /= self.scale_D
        return standardised


@dataclass(frozen=True, slots=True)
class LinearClassifier:
    """Weights (D, K) and biases (K,); the label is the index of the largest score, of equals the first."""

    weight_DK: FloatArray
    bias_K: FloatArray
    num_steps: int

    def predict(self, x_ND: FloatArray) -> IntArray:
        """int64 (N,)."""
        labels_N: IntArray = np.argmax(x_ND @ self.weight_DK + self.bias_K, axis=1)
        return labels_N

    def accuracy(self, x_ND: FloatArray, labels_N: IntArray) -> float:
        """Share of right labels, 0 to 1; a label that training never saw (-1) is never right."""
        return float(np.mean(self.predict(x_ND) == labels_N))


def fit_logistic(
    x_ND: FloatArray, labels_N: IntArray, num_classes: int, c: float, max_steps: int = MAX_STEPS
) -> LinearClassifier:
    """Minimise mean log loss + |W|^2 / (2 C N) from zero; products in float32, the optimiser in float64."""
    num_examples, dim = x_ND.shape
    penalty = 1.0 / (c * num_examples)

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = flat.reshape(dim + 1, num_classes)
        loss, gradient = _mean_log_loss(x_ND, labels_N, parameters.astype(np.float32))
        gradient[:dim] += penalty * parameters[:dim]
        return loss + 0.5 * penalty * float(np.sum(parameters[:dim] ** 2)), gradient.ravel()

    result = minimize(
        loss_and_gradient,
        np.zeros((dim + 1) * num_classes),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_steps, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps},
    )
    parameters = result.x.reshape(dim + 1, num_classes).astype(np.float32)
    return LinearClassifier(parameters[:dim], parameters[dim], int(result.nit))


def _mean_log_loss(
    x_ND: FloatArray, labels_N: IntArray, parameters: FloatArray
) -> tuple[float, NDArray[np.float64]]:
    """Loss and its gradient (D + 1, K) at `parameters` (D + 1, K), biases in the last row."""
    dim = x_ND.shape[1]
    weight_DK, bias_K = parameters[:dim], parameters[dim]
    gradient = np.zeros(parameters.shape, dtype=np.float64)
    loss = 0.0
    for at in range(0, len(x_ND), ROWS_PER_BLOCK):
        block_ND = x_ND[at : at + ROWS_PER_BLOCK]
        own = (np.arange(len(block_ND)), labels_N[at : at + ROWS_PER_BLOCK])
        scores_NK = block_ND @ weight_DK
        scores_NK += bias_K
        scores_NK -= scores_NK.max(axis=1, keepdims=True)
        own_score_N = scores_NK[own]
        np.exp(scores_NK, out=scores_NK)
        total_N1 = scores_NK.sum(axis=1, keepdims=True)
        loss += float(np.sum(np.log(total_N1[:, 0]) - own_score_N, dtype=np.float64))
        scores_NK /= total_N1
        scores_NK[own] -= 1.0
        gradient[:dim] += block_ND.T @ scores_NK
        gradient[dim] += scores_NK.sum(axis=0, dtype=np.float64)
    return loss / len(x_ND), gradient / len(x_ND)


@dataclass(frozen=True, slots=True)
class ChosenFit:
    """The classifier whose C did best on the held-out examples; of equals, the more regularised."""

    classifier: LinearClassifier
    c: float
    dev_accuracy: float


def fit_with_best_c(
    train: tuple[FloatArray, IntArray],
    dev: tuple[FloatArray, IntArray],
    num_classes: int,
    *,
    c_values: Sequence[float] = C_VALUES,
    max_steps: int = MAX_STEPS,
    num_threads: int = 1,
) -> ChosenFit:
    """Fit once per C on `train` (features already standardised) and keep the best on `dev`.

    The fits run beside each other, each with one thread of BLAS: BLAS threads wait for one another at each
    small product, which beside a training run was measured to be 4 times slower than one thread alone.
    """
    if not c_values:
        raise ValueError("expected at least one value of C, found none")

    def fit(c: float) -> ChosenFit:
        classifier = fit_logistic(*train, num_classes, c, max_steps)
        return ChosenFit(classifier, c, classifier.accuracy(*dev))

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(num_threads) as executor:
        # Weakest regularisation first: it takes the most steps, and the others fit beside it.
        fits = list(executor.map(fit, sorted(c_values, reverse=True)))
    return max(reversed(fits), key=lambda fit: fit.dev_accuracy)

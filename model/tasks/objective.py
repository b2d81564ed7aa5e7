"""The joint objective of a layer mix and a linear head, with its gradient.

    score_k(x) = sum over d of V[d, k] * (mix_d(x) - its mean) / its spread + b[k]
    mix(x)     = sum over l of softmax(t)_l * layer_l(x) / scale_l
    objective  = mean log loss of softmax(score) + penalty / 2 * |V|^2 + tether / 2 * |t - anchor|^2

Mean and spread of the mix are functions of t (moments.py), so that the penalty on V is the same whatever
t is. Were the mix left as it is, the penalty would favour large layers, and gamma and V could take turns at
growing. For the same reason gamma is no parameter here: a linear head absorbs it. The head stays linear in
the served vector, since spreads and means are constants once t is known.

With two labels V has one column, half of whose score goes to either label: the optimum of two columns.

Shape letters: N examples, n of a chunk, L layers, D vector dim, K labels, C columns of V (K; 1 with two
labels).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.scalar_mix import softmax_weights
from model.tasks.moments import CHUNK_ROWS, Doubles, Floats, Moments, chunks

Integers = npt.NDArray[np.int64]

# A dimension is divided by no less than a tenth of what dimensions vary by in the mean: some LSTM units are
# all but constant, and their rounding is not to be blown up.
_SPREAD_FLOOR = 0.1
# A pass is made in so many blocks of rows, which threads may share out: a sum's order, and so its last bit,
# is the same with one thread and with four.
_NUM_BLOCKS = 4
_MIN_BLOCK_ROWS = 8 * CHUNK_ROWS


@dataclass(frozen=True, slots=True)
class Parameters:
    """head_DC and bias_C score standardised mixes; scalars_L weigh layers divided by their scale."""

    head_DC: Doubles
    bias_C: Doubles
    scalars_L: Doubles


@dataclass(frozen=True, slots=True)
class Leash:
    """Scalars (L) that the scalars are drawn to, and how firmly, per example."""

    anchor_L: Doubles
    tether: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The objective's value, its gradient, laid out like the parameters, and how the mean log loss curves in
    each column's scores."""

    value: float
    gradient: Parameters
    curvature_C: Doubles


class Map(Protocol):
    """The builtin `map`, or an executor's: the results in order."""

    def __call__(self, function: Callable[[slice], _Sums], blocks: Iterable[slice], /) -> Iterable[_Sums]: ...


@dataclass(slots=True)
class _Sums:
    """Over rows: log losses, and their derivatives in the columns' scores (E = L * D)."""

    loss: float
    gradient_EC: Doubles
    gradient_C: Doubles
    curvature_C: Doubles

    def __iadd__(self, other: _Sums) -> _Sums:
        self.loss += other.loss
        self.gradient_EC += other.gradient_EC
        self.gradient_C += other.gradient_C
        self.curvature_C += other.curvature_C
        return self


class Objective:
    """Over the examples whose target is not negative. Every evaluation is one pass, in chunks of rows.

    features_NLD: float32, not copied, may be memory-mapped; targets_N: label indices, -1 for rows left out;
    `check` is called for every chunk and may raise; `run` makes a pass's blocks of rows.
    """

    def __init__(
        self,
        features_NLD: Floats,
        targets_N: Integers,
        num_labels: int,
        moments: Moments,
        check: Callable[[], None],
        run: Map = map,
    ) -> None:
        fitted_N = targets_N[targets_N >= 0]
        self.num_examples = len(fitted_N)
        self.num_labels = num_labels
        self.num_columns = 1 if num_labels == 2 else num_labels
        self._features = features_NLD
        self._targets = targets_N
        self._moments = moments
        self._check = check
        self._run = run
        # Of two labels, which side of 0 a score should be on; 0 for rows that are left out.
        self._sides_N1 = np.select([targets_N == 0, targets_N == 1], [-1.0, 1.0])[:, None]
        # The two columns that one column stands for have half its square.
        self.penalised = 0.5 if self.num_columns == 1 else 1.0
        # Of the log loss in each column's score where the labels' frequencies are all it knows.
        frequency_K = np.bincount(fitted_N, minlength=num_labels) / len(fitted_N)
        self.curvature_C: Doubles = (frequency_K * (1 - frequency_K))[: self.num_columns]

    def evaluate(self, at: Parameters, penalty: float, leash: Leash) -> Evaluation:
        """penalty: at least 0, per example."""
        weights_L = softmax_weights(at.scalars_L)
        spread_D = self._spread(weights_L)
        direction_DC = at.head_DC / spread_D[:, None]
        loss, gradient_LDC, gradient_bias_C, curvature_C = self._pass(weights_L, direction_DC, at.bias_C)

        gradient_direction_DC = np.einsum("l,ldc->dc", weights_L, gradient_LDC)
        gradient_head_DC = gradient_direction_DC / spread_D[:, None]
        gradient_weights_L = np.einsum("ldc,dc->l", gradient_LDC, direction_DC)
        # A weight also moves the spread that the mix is divided by.
        moved_D = np.einsum("dc,dc->d", gradient_direction_DC, direction_DC) / spread_D**2
        gradient_weights_L -= self._spread_gradient(weights_L, moved_D)
        gradient_scalars_L = weights_L * (gradient_weights_L - weights_L @ gradient_weights_L)

        penalised = penalty * self.penalised
        value = loss + 0.5 * penalised * float(np.sum(at.head_DC**2))
        pulled_L = at.scalars_L - leash.anchor_L
        value += 0.5 * leash.tether * float(np.sum(pulled_L**2))
        gradient = Parameters(
            gradient_head_DC + penalised * at.head_DC,
            gradient_bias_C,
            gradient_scalars_L + leash.tether * pulled_L,
        )
        return Evaluation(value, gradient, curvature_C)

    def scores(self, at: Parameters, features_NLD: Floats, rows_M: Integers) -> Doubles:
        """Return the head's scores of some rows of these features, float64 (M, K)."""
        weight_LDC, bias_C = self.effective(at)
        scores_NC = np.empty((len(rows_M), self.num_columns))
        flat_EC = weight_LDC.reshape(-1, self.num_columns).astype(np.float32)
        for part in chunks(len(rows_M)):
            self._check()
            scores_NC[part] = _flat(features_NLD[rows_M[part]]) @ flat_EC
        return self._both(scores_NC + bias_C)

    def effective(self, at: Parameters) -> tuple[Doubles, Doubles]:
        """Return weights (L, D, C) on the layers as they came, and biases (C), that give the same scores."""
        weights_L = softmax_weights(at.scalars_L)
        direction_DC = at.head_DC / self._spread(weights_L)[:, None]
        return self._effective(weights_L, direction_DC, at.bias_C)

    def linear_head(self, at: Parameters, gamma: float) -> tuple[Doubles, Doubles]:
        """Return weights (K, D) and biases (K) on the served vector, gamma * sum softmax(served)_l
        layer_l."""
        weight_LDC, bias_C = self.effective(at)
        # Any layer would do: served weight l times the served head is what the layer's own weights are.
        served_L = softmax_weights(self.served_scalars(at))
        heaviest = int(served_L.argmax())
        weight_DC = weight_LDC[heaviest] / (gamma * served_L[heaviest])
        return self._both(weight_DC).T, self._both(bias_C[None])[0]

    def served_scalars(self, at: Parameters) -> Doubles:
        """Return scalars (L) of the layers as they came, with a mean of 0."""
        scalars_L: Doubles = at.scalars_L - np.log(self._moments.scale_L)
        scalars_L -= scalars_L.mean()
        return scalars_L

    def sample(self, scalars_L: Doubles, num_rows: int) -> Floats:
        """Return about num_rows standardised mixes of fitted rows, evenly spaced: float32 (n, D)."""
        fitted = np.flatnonzero(self._targets >= 0)
        rows = fitted[:: max(1, len(fitted) // num_rows)]
        weights_L = softmax_weights(scalars_L)
        mean_D = weights_L @ self._moments.mean_LD
        factor_L = (weights_L / self._moments.scale_L).astype(np.float32)
        mixed_nD: Floats = np.einsum("nld,l->nd", self._features[rows], factor_L)
        mixed_nD -= mean_D.astype(np.float32)
        mixed_nD /= self._spread(weights_L).astype(np.float32)
        return mixed_nD

    def _pass(
        self, weights_L: Doubles, direction_DC: Doubles, bias_C: Doubles
    ) -> tuple[float, Doubles, Doubles, Doubles]:
        """Mean log loss; its gradient in (weight * direction) of each scaled, centred layer; in the bias; its
        curvature in the scores."""
        num_layers, dim = self._moments.mean_LD.shape
        weight_LDC, shifted_C = self._effective(weights_L, direction_DC, bias_C)
        flat_EC = weight_LDC.reshape(-1, self.num_columns).astype(np.float32)
        total = self._zeros(len(flat_EC))
        for sums in self._run(
            lambda block: self._sums(block, flat_EC, shifted_C), _blocks(len(self._targets))
        ):
            total += sums
        gradient_LDC = total.gradient_EC.reshape(num_layers, dim, -1) / self._moments.scale_L[:, None, None]
        gradient_LDC -= self._moments.mean_LD[:, :, None] * total.gradient_C
        count = self.num_examples
        return total.loss / count, gradient_LDC / count, total.gradient_C / count, total.curvature_C / count

    def _sums(self, block: slice, flat_EC: Floats, shifted_C: Doubles) -> _Sums:
        sums = self._zeros(len(flat_EC))
        for rows in chunks(block.stop, block.start):
            self._check()
            features_nE = _flat(self._features[rows])
            scores_nC = features_nE @ flat_EC + shifted_C
            loss, residual_nC = self._residual(scores_nC, rows)
            sums.loss += loss
            sums.gradient_EC += features_nE.T @ residual_nC.astype(np.float32)
            sums.gradient_C += residual_nC.sum(axis=0)
            # A residual is a label's probability, or that less 1: either way this is p (1 - p).
            size_nC = np.abs(residual_nC)
            sums.curvature_C += (size_nC - size_nC**2).sum(axis=0)
        return sums

    def _zeros(self, size: int) -> _Sums:
        shape = (self.num_columns,)
        return _Sums(0.0, np.zeros((size, *shape)), np.zeros(shape), np.zeros(shape))

    def _residual(self, scores_nC: Doubles, rows: slice) -> tuple[float, Doubles]:
        """Sum of log losses, and its gradient in the columns' scores; 0 for rows that are left out."""
        if self.num_columns == 1:
            return _two_label_residual(scores_nC, self._sides_N1[rows])
        targets_n = self._targets[rows]
        fitted_n = targets_n >= 0
        own = (np.flatnonzero(fitted_n), targets_n[fitted_n])
        scores_nC -= scores_nC.max(axis=1, keepdims=True)
        own_scores = scores_nC[own]
        np.exp(scores_nC, out=scores_nC)
        total_n = scores_nC.sum(axis=1)
        scores_nC /= total_n[:, None]
        scores_nC[own] -= 1.0
        scores_nC[~fitted_n] = 0.0
        return float(np.sum(np.log(total_n[fitted_n]) - own_scores)), scores_nC

    def _both(self, columns_nC: Doubles) -> Doubles:
        """Spread one column of two labels to both; a new array."""
        if self.num_columns > 1:
            return columns_nC.copy()
        return np.concatenate([-0.5 * columns_nC, 0.5 * columns_nC], axis=1)

    def _effective(
        self, weights_L: Doubles, direction_DC: Doubles, bias_C: Doubles
    ) -> tuple[Doubles, Doubles]:
        centre_D = weights_L @ self._moments.mean_LD
        per_layer_L = weights_L / self._moments.scale_L
        return per_layer_L[:, None, None] * direction_DC, bias_C - centre_D @ direction_DC

    def _spread(self, weights_L: Doubles) -> Doubles:
        variance_D = self._moments.variance(weights_L)
        spread_D: Doubles = np.sqrt(variance_D + _SPREAD_FLOOR**2 * variance_D.mean())
        # A constant layer, looked at alone, has no spread at all: what it says stays 0.
        return np.where(spread_D > 0, spread_D, 1.0)

    def _spread_gradient(self, weights_L: Doubles, factor_D: Doubles) -> Doubles:
        """Return sum over d of factor_d * spread_d * (gradient of spread_d in the weights), (L)."""
        covariance_LLD = self._moments.covariance_LLD
        floored_D = factor_D + _SPREAD_FLOOR**2 * factor_D.mean()
        gradient_L: Doubles = np.einsum("d,lmd,m->l", floored_D, covariance_LLD, weights_L)
        return gradient_L


def _blocks(num_rows: int) -> list[slice]:
    """Return the rows of each block: whole chunks, none of them small."""
    size = max(_MIN_BLOCK_ROWS, CHUNK_ROWS * -(-num_rows // (_NUM_BLOCKS * CHUNK_ROWS)))
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]


def _two_label_residual(scores_n1: Doubles, sides_n1: Doubles) -> tuple[float, Doubles]:
    margins_n1 = sides_n1 * scores_n1
    losses_n1 = np.logaddexp(0.0, -margins_n1)
    # 1 - probability of the right side, without the digits that 1 - ... would lose.
    wrong_n1 = np.exp(-margins_n1 - losses_n1)
    return float(np.sum(losses_n1 * np.abs(sides_n1))), -sides_n1 * wrong_n1


def _flat(features_nLD: Floats) -> Floats:
    """Layers side by side, (n, L * D); no copy, whether all layers are given or a single one of more."""
    return features_nLD.reshape(len(features_nLD), -1)

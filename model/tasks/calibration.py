"""Probabilities that mean what they say: temperature, log loss, expected calibration error.

probabilities = softmax(scores / temperature + prior). The prior (log frequencies, or 0) is not divided:
however little the scores can be trusted, the labels' frequencies can.

Shape letters: N examples, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

NUM_BINS = 10
LOWEST_TEMPERATURE = 1e-3
_HIGHEST_TEMPERATURE = 1e6


@dataclass(frozen=True, slots=True)
class Scored:
    """What a fit says about examples it has not seen.

    scores_NK: -inf where an example has fewer than K labels to choose from; prior_NK likewise; targets_N: the
    right column, -1 when the fit does not know the label, so that no answer is right.
    """

    scores_NK: Doubles
    prior_NK: Doubles
    targets_N: Integers

    def probabilities(self, temperature: float) -> Doubles:
        """float64 (N, K), rows that sum to 1."""
        return softmax_rows(self._tempered(temperature))

    def log_probabilities(self, temperature: float) -> Doubles:
        """float64 (N, K), natural logarithms, also of what is 0 as a probability."""
        scores_NK = self._tempered(temperature)
        scores_NK -= scores_NK.max(axis=1, keepdims=True)
        scores_NK -= np.log(np.exp(scores_NK).sum(axis=1, keepdims=True))
        return scores_NK

    def _tempered(self, temperature: float) -> Doubles:
        choices_NK = np.isfinite(self.scores_NK)
        scores_NK = np.where(choices_NK, self.scores_NK, 0.0) / temperature + self.prior_NK
        return np.where(choices_NK, scores_NK, -np.inf)

    def rows(self, chosen: Booleans | Integers) -> Scored:
        return Scored(self.scores_NK[chosen], self.prior_NK[chosen], self.targets_N[chosen])


@dataclass(frozen=True, slots=True)
class Candidates:
    """The same examples scored in several ways (how strongly a head is held back), and the way that was
    chosen by them."""

    chosen: Scored
    tried: tuple[Scored, ...]

    @classmethod
    def only(cls, scored: Scored) -> Candidates:
        """Nothing was to be chosen."""
        return cls(scored, (scored,))


def pooled(parts: Sequence[Scored]) -> Scored:
    """All parts' examples, in order."""
    return Scored(
        np.concatenate([part.scores_NK for part in parts]),
        np.concatenate([part.prior_NK for part in parts]),
        np.concatenate([part.targets_N for part in parts]),
    )


def softmax_rows(scores_NK: Doubles) -> Doubles:
    """exp of each row's scores over their sum; each row has a finite score."""
    exponentials_NK = np.exp(scores_NK - scores_NK.max(axis=1, keepdims=True))
    result: Doubles = exponentials_NK / exponentials_NK.sum(axis=1, keepdims=True)
    return result


def log_losses(probabilities_NK: Doubles, targets_N: Integers) -> Doubles:
    """Return -log of the right label's probability for the rows that have a right label."""
    rows = np.flatnonzero(targets_N >= 0)
    own_N = probabilities_NK[rows, targets_N[rows]]
    losses_N: Doubles = -np.log(np.maximum(own_N, np.finfo(np.float64).tiny))
    return losses_N


def fit_temperature(scored: Scored, lowest: float = LOWEST_TEMPERATURE) -> float:
    """Return the temperature with the lowest mean log loss, from `lowest` to 1,000,000; 1 when nothing is
    known.

    Targets are those of Platt 1999, "Probabilistic outputs for support vector machines", section 2.2: (N + 1)
    / (N + 2) for the right label; the others share the rest. Where all N are right, they stop the temperature
    from going to 0, and so from making the first error infinitely dear.
    """
    from scipy.optimize import minimize_scalar  # not at import: a server that fits nothing does without

    known = scored.rows(scored.targets_N >= 0)
    num_known = len(known.targets_N)
    if not num_known:
        return 1.0
    choices_NK = np.isfinite(known.scores_NK)
    right_N = np.arange(num_known), known.targets_N
    num_others_N1 = np.maximum(choices_NK.sum(axis=1, keepdims=True) - 1, 1)
    share_NK = np.where(choices_NK, 1 / (num_others_N1 * (num_known + 2)), 0.0)
    share_NK[right_N] = (num_known + 1) / (num_known + 2)

    def mean_loss(log_temperature: float) -> float:
        log_NK = known.log_probabilities(float(np.exp(log_temperature)))
        return -float(np.sum(share_NK * np.where(choices_NK, log_NK, 0.0))) / num_known

    bounds = (np.log(lowest), np.log(_HIGHEST_TEMPERATURE))
    result = minimize_scalar(mean_loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return float(np.exp(result.x))


def cross_fitted(tried: Sequence[Scored], lowest: float = LOWEST_TEMPERATURE) -> Doubles:
    """Return probabilities of examples that had no say in their own temperature, nor in which of the ways to
    score them they come from.

    Both are chosen for even rows by the log loss of odd rows, and the other way round. Were the best way
    chosen by all rows, it would look better than it is.
    """
    even_N = np.arange(len(tried[0].targets_N)) % 2 == 0
    probabilities_NK = np.empty(tried[0].scores_NK.shape)
    for own, other in ((even_N, ~even_N), (~even_N, even_N)):
        best, temperature = min(
            ((each, fit_temperature(each.rows(other), lowest)) for each in tried),
            key=lambda found: _mean_loss(found[0].rows(other), found[1]),
        )
        probabilities_NK[own] = best.rows(own).probabilities(temperature)
    return probabilities_NK


def _mean_loss(scored: Scored, temperature: float) -> float:
    losses_N = log_losses(scored.probabilities(temperature), scored.targets_N)
    return float(losses_N.mean()) if len(losses_N) else 0.0


def expected_calibration_error(probabilities_NK: Doubles, targets_N: Integers) -> float:
    """Mean distance between confidence and share right, over 10 bins of equal width, weighted by their size.

    Source: Guo et al. 2017 (arXiv:1706.04599), equation 3.
    """
    confidence_N = probabilities_NK.max(axis=1)
    right_N = (probabilities_NK.argmax(axis=1) == targets_N).astype(np.float64)
    bin_N = np.minimum((confidence_N * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    # |sum of confidence - sum of right| in a bin is its size times the distance.
    distance = np.abs(np.bincount(bin_N, weights=confidence_N - right_N, minlength=NUM_BINS))
    return float(distance.sum() / len(targets_N))

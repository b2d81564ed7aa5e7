"""How sure a held-out number is: intervals, and tests of one prediction against another.

Examples count as independent, also the words of one sentence; intervals of `tag` are a little too narrow.
Shape letters: N examples.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Booleans = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

# Of the normal distribution, two-sided 95%.
_Z = 1.959964
_ROUNDING = 1e-9


def wilson_interval(num_right: int, num_examples: int) -> tuple[float, float]:
    """95% interval of a share, 0 to 1. Source: Wilson 1927, "Probable inference"."""
    share = num_right / num_examples
    z2 = _Z**2 / num_examples
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z / (1 + z2) * math.sqrt(share * (1 - share) / num_examples + z2 / (4 * num_examples))
    return max(0.0, centre - half), min(1.0, centre + half)


def macro_recall(right_N: Booleans, labels_N: Integers) -> float:
    """Mean over labels, each label alike, of the share found of its examples."""
    _, own_N = np.unique(labels_N, return_inverse=True)
    return float(np.mean(np.bincount(own_N, weights=right_N) / np.bincount(own_N)))


def difference_interval(right_N: Booleans, other_right_N: Booleans) -> tuple[float, float, float]:
    """Difference of two accuracies on the same examples, and its 95% interval: (difference, low, high).

    From the examples that only one of them gets right, one pseudo-example each way added (Agresti and Min
    2005, "Simple improved confidence intervals for comparing matched proportions"), so that no disagreement
    is not taken for certainty.
    """
    num_examples = len(right_N) + 2
    gained = int((right_N & ~other_right_N).sum()) + 0.5
    lost = int((other_right_N & ~right_N).sum()) + 0.5
    difference = (gained - lost) / num_examples
    half = _Z * math.sqrt((gained + lost) - (gained - lost) ** 2 / num_examples) / num_examples
    observed = float(right_N.mean() - other_right_N.mean())
    return observed, max(-1.0, difference - half), min(1.0, difference + half)


def chance_of_more_right(right_N: Booleans, other_right_N: Booleans) -> float:
    """One-sided exact McNemar test: how likely so many more are right by chance, 0 to 1."""
    from scipy.special import bdtrc

    gained = int((right_N & ~other_right_N).sum())
    lost = int((other_right_N & ~right_N).sum())
    if gained == 0:
        return 1.0
    # At least `gained` of gained + lost tosses of a fair coin.
    return float(bdtrc(gained - 1, gained + lost, 0.5))


def chance_of_so_low_a_loss(
    probabilities_NK: Doubles, targets_N: Integers, strata_N: Integers, is_cross_fitted: bool
) -> float:
    """How likely labels dealt out anew would get so low a log loss from these predictions, 0 to 1.

    targets_N: right columns, -1 for none; labels are dealt within a stratum (a word's senses stay with the
    word). is_cross_fitted: whether every example was also fitted on, in the other folds. Two examples then
    count twice, each as judged and as fitted, and the sum varies by 2 ** 0.5 more than dealings with the fits
    as they are. Normal approximation to the permutation test, with its exact mean and variance (Hoeffding
    1951, "A combinatorial central limit theorem"); 1 for predictions that are all alike.
    """
    from scipy.special import ndtr

    rows = np.flatnonzero(targets_N >= 0)
    if not len(rows):
        return 1.0
    rows = rows[np.argsort(strata_N[rows], kind="stable")]
    _, firsts = np.unique(strata_N[rows], return_index=True)
    lead = variance = 0.0
    for own in np.split(rows, firsts[1:]):
        log_nK = np.log(np.maximum(probabilities_NK[own], np.finfo(np.float64).tiny))
        count_K = np.bincount(targets_N[own], minlength=log_nK.shape[1])
        row_n1 = log_nK @ count_K[:, None] / len(own)
        column_K = log_nK.mean(axis=0)
        mean = float(column_K @ count_K) / len(own)
        lead += float(log_nK[np.arange(len(own)), targets_N[own]].sum()) - len(own) * mean
        apart_nK = log_nK - row_n1 - column_K + mean
        variance += float(np.sum(apart_nK**2 @ count_K)) / max(len(own) - 1, 1)
    deviation = math.sqrt(2 * variance if is_cross_fitted else variance)
    return float(ndtr(-lead / deviation)) if deviation > _ROUNDING * len(rows) else 1.0


def chance_of_lower_loss(losses_N: Doubles, other_losses_N: Doubles) -> float:
    """One-sided paired t test: how likely a mean loss lower by so much is by chance, 0 to 1."""
    from scipy.special import stdtr

    gains_N = other_losses_N - losses_N
    if len(gains_N) < 2:
        return 1.0
    error = float(gains_N.std(ddof=1)) / math.sqrt(len(gains_N))
    mean = float(gains_N.mean())
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    return float(stdtr(len(gains_N) - 1, -mean / error))

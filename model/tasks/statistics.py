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
# Dealings of the labels: a chance is known to within 0.007 where it matters, near 0.05.
_NUM_DEALINGS = 999
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


def chance_of_so_low_a_loss(log_NK: Doubles, targets_N: Integers, strata_N: Integers) -> float:
    """Permutation test: how likely labels dealt out anew get so low a mean log loss from these predictions.

    log_NK: log probabilities; targets_N: right columns, -1 for none; labels are dealt within a stratum (a
    word's senses stay with the word). From above 0 to 1; 1 for predictions that are all alike. The same input
    gives the same chance.
    """
    rows = np.flatnonzero(targets_N >= 0)
    rows = rows[np.argsort(strata_N[rows], kind="stable")]
    log_nK, targets_n = log_NK[rows], targets_N[rows]
    _, stratum_n = np.unique(strata_N[rows], return_inverse=True)
    own = np.arange(len(rows))
    found = float(log_nK[own, targets_n].sum())
    generator = np.random.default_rng(0)
    as_high = 0
    for _ in range(_NUM_DEALINGS):
        dealt = np.argsort(stratum_n + generator.random(len(rows)))
        as_high += float(log_nK[own, targets_n[dealt]].sum()) >= found - _ROUNDING * abs(found)
    return (1 + as_high) / (1 + _NUM_DEALINGS)


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

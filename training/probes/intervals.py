"""How sure a number is: each set's test examples drawn anew, sentence by sentence, for all vectors alike.

The words of a sentence are drawn together: they are not independent. Source: Efron and Tibshirani 1993,
"An Introduction to the Bootstrap", percentile intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from model.tasks.report import LEARNED, LEARNED_WITH_TEXT
from training.probes.features import is_layer
from training.probes.source import Doubles, IntArray

NUM_RESAMPLES = 500
_PERCENTILES = (2.5, 97.5)

Row = dict[str, float]
Metric = Callable[[IntArray], float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of vectors on one set: metrics as functions of how often each example counts (the first is the
    main one), and other numbers about it."""

    metrics: Mapping[str, Metric]
    notes: Row = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The learned mix's main metric less that of the best single layer, with its 95% interval.

    The layer is the best one of this very test, which favours it.
    """

    layer: str
    difference: float
    low: float
    high: float


def with_intervals(
    measured: Mapping[str, Measured], groups_N: IntArray
) -> tuple[dict[str, Row], Difference | None]:
    """Rows of all metrics, the main one with `_low` and `_high`; the difference where there is a learned mix.

    The row with the text has what it gains over the learned mix without: `_gain`, with an interval too.

    groups_N: from 0, examples of one group are drawn together. The main metric is the same for all.
    """
    main = next(iter(next(iter(measured.values())).metrics))
    ones_N = np.ones(len(groups_N), dtype=np.int64)
    rows: dict[str, Row] = {}
    drawn: dict[str, Doubles] = {}
    for name, each in measured.items():
        row = {key: function(ones_N) for key, function in each.metrics.items()}
        drawn[name] = _resampled(each.metrics[main], groups_N)
        row[f"{main}_low"], row[f"{main}_high"] = _interval(drawn[name])
        rows[name] = row | each.notes
    if LEARNED_WITH_TEXT in rows:
        low, high = _interval(drawn[LEARNED_WITH_TEXT] - drawn[LEARNED])
        gain = rows[LEARNED_WITH_TEXT][main] - rows[LEARNED][main]
        rows[LEARNED_WITH_TEXT] |= {f"{main}_gain": gain, f"{main}_gain_low": low, f"{main}_gain_high": high}
    return rows, _against_best_layer(rows, drawn, main)


def _resampled(metric: Metric, groups_N: IntArray) -> Doubles:
    # The same seed, hence the same samples, for every kind of vectors.
    random = np.random.default_rng(0)
    num_groups = int(groups_N.max()) + 1
    values = np.empty(NUM_RESAMPLES)
    for i in range(NUM_RESAMPLES):
        counts = np.bincount(random.integers(num_groups, size=num_groups), minlength=num_groups)
        values[i] = metric(counts[groups_N])
    return values


def _interval(values: Doubles) -> tuple[float, float]:
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def _against_best_layer(
    rows: Mapping[str, Row], drawn: Mapping[str, Doubles], main: str
) -> Difference | None:
    if LEARNED not in rows:
        return None
    layers = [name for name in rows if is_layer(name)]
    best = max(layers, key=lambda name: rows[name][main])
    low, high = _interval(drawn[LEARNED] - drawn[best])
    return Difference(best, rows[LEARNED][main] - rows[best][main], low, high)

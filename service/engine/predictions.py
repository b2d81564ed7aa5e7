"""From hidden vectors to log-probabilities, some rows at a time: N x V floats for a whole batch are too many.

Shape letters: N predictions, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.engine.backend import Floats, Integers, RuntimeLike

ROWS_PER_RUN = 256
"""16 MB of log-probabilities with V = 16,384."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """Places whose log-probabilities are wanted, and where these are written."""

    hidden_NH: Floats  # of one direction's top layer
    ids_N: Integers | None  # whose log-probability: one for each place; None: all V of them
    out: Floats  # (N), or (N, V)


def predict(runtime: RuntimeLike, predictions: Sequence[Prediction]) -> None:
    """Fill every prediction's `out`."""
    single = [prediction for prediction in predictions if prediction.ids_N is not None]
    if single:
        _predict_ids(runtime, single)
    for prediction in predictions:
        if prediction.ids_N is None:
            prediction.out[:] = runtime.log_probabilities(np.ascontiguousarray(prediction.hidden_NH))


def _predict_ids(runtime: RuntimeLike, predictions: Sequence[Prediction]) -> None:
    """All places together: a run of few rows takes nearly as long as one of many."""
    hidden_NH = np.concatenate([prediction.hidden_NH for prediction in predictions])
    ids_N = np.concatenate([prediction.ids_N for prediction in predictions if prediction.ids_N is not None])
    found_N = np.empty(len(ids_N), dtype=np.float32)
    for start in range(0, len(ids_N), ROWS_PER_RUN):
        rows = slice(start, start + ROWS_PER_RUN)
        ids_n1 = ids_N[rows, None]
        found_N[rows] = np.take_along_axis(runtime.log_probabilities(hidden_NH[rows]), ids_n1, 1)[:, 0]
    start = 0
    for prediction in predictions:
        prediction.out[:] = found_N[start : start + len(prediction.out)]
        start += len(prediction.out)

from __future__ import annotations

import numpy as np
import pytest

from service.engine import predictions
from service.engine.predictions import Prediction, predict
from tests.service.fake_backend import PIECES, FakeRuntime

V = len(PIECES)


def hidden(num_places: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).integers(0, 100, (num_places, 2)).astype(np.float32)


@pytest.mark.parametrize("rows_per_run", [1, 3, 256])
def test_each_place_has_the_log_probability_of_its_id(
    rows_per_run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "ROWS_PER_RUN", rows_per_run)
    runtime = FakeRuntime()
    rows = {4: hidden(4), 1: hidden(1, 1), 0: hidden(0), 3: hidden(3, 2)}
    ids = {number: np.arange(number, dtype=np.int32) * 2 for number in rows}
    asked = [
        Prediction(hidden_NH, ids[number], np.full(number, np.nan, dtype=np.float32))
        for number, hidden_NH in rows.items()
    ]
    predict(runtime, asked)
    for prediction, (number, hidden_NH) in zip(asked, rows.items(), strict=True):
        expected_NV = FakeRuntime().log_probabilities(hidden_NH)
        np.testing.assert_array_equal(prediction.out, expected_NV[np.arange(number), ids[number]])
    assert max(runtime.head_runs) <= rows_per_run
    assert sum(runtime.head_runs) == 8


def test_whole_distributions_beside_single_ids() -> None:
    runtime = FakeRuntime()
    whole = Prediction(hidden(2), None, np.empty((2, V), dtype=np.float32))
    single = Prediction(hidden(2), np.array([5, 0], dtype=np.int32), np.empty(2, dtype=np.float32))
    predict(runtime, [whole, single])
    np.testing.assert_array_equal(whole.out, FakeRuntime().log_probabilities(hidden(2)))
    np.testing.assert_array_equal(single.out, whole.out[[0, 1], [5, 0]])


def test_nothing_asked_runs_nothing() -> None:
    runtime = FakeRuntime()
    predict(runtime, [])
    assert runtime.head_runs == []

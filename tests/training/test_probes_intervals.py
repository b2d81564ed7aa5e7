from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from training.probes.intervals import Measured, with_intervals
from training.probes.metrics import accuracy
from training.probes.source import IntArray


def of(right_N: IntArray) -> Measured:
    return Measured({"accuracy": partial(accuracy, right_N)}, {"c": 1.0})


def test_the_interval_is_that_of_a_share() -> None:
    right_N = (np.arange(400) % 5 < 4).astype(np.int64)
    rows, against = with_intervals({"layer 0": of(right_N)}, np.arange(400))
    row = rows["layer 0"]
    assert (row["accuracy"], row["c"]) == (0.8, 1.0)
    # 1.96 standard errors of 0.8 in 400 examples: 0.039.
    assert row["accuracy_low"] == pytest.approx(0.761, abs=0.006)
    assert row["accuracy_high"] == pytest.approx(0.839, abs=0.006)
    assert against is None
    assert with_intervals({"layer 0": of(right_N)}, np.arange(400)) == (rows, None)


def test_words_of_a_sentence_are_drawn_together() -> None:
    right_N = np.repeat(np.arange(40) % 2, 10)
    alone, _ = with_intervals({"layer 0": of(right_N)}, np.arange(400))
    together, _ = with_intervals({"layer 0": of(right_N)}, np.repeat(np.arange(40), 10))
    widths = [
        rows["layer 0"]["accuracy_high"] - rows["layer 0"]["accuracy_low"] for rows in (alone, together)
    ]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt(10), rel=0.15)


def test_the_learned_mix_stands_against_the_best_layer_on_the_same_samples() -> None:
    best = (np.arange(200) % 4 < 3).astype(np.int64)
    learned = best.copy()
    learned[:8] = 1  # two that the layer has wrong
    measured = {
        "layer 0": of(np.zeros_like(best)),
        "layer 1": of(best),
        "equal": of(best),
        "learned": of(learned),
    }
    _, against = with_intervals(measured, np.arange(200))
    assert against is not None
    assert against.layer == "layer 1"
    assert against.difference == pytest.approx(0.01)
    # Never worse, in no sample: far narrower than the rows' own intervals.
    assert against.low == 0
    assert 0.02 <= against.high <= 0.03


def test_what_the_text_adds_to_the_learned_mix_on_the_same_samples() -> None:
    learned = (np.arange(200) % 4 < 2).astype(np.int64)
    with_text = learned.copy()
    with_text[2:80:4] = 1
    measured = {"layer 0": of(learned), "learned": of(learned), "learned + text": of(with_text)}
    row = with_intervals(measured, np.arange(200))[0]["learned + text"]
    assert row["accuracy_gain"] == pytest.approx(0.1)
    # The gain's own standard error, of the root of 0.09 / 200: 0.021.
    assert row["accuracy_gain_low"] == pytest.approx(0.1 - 0.0416, abs=0.008)
    assert row["accuracy_gain_high"] == pytest.approx(0.1 + 0.0416, abs=0.008)
    del measured["learned + text"]
    assert not any(
        "gain" in key for row in with_intervals(measured, np.arange(200))[0].values() for key in row
    )

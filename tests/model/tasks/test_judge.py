from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.tasks.calibration import Candidates, Integers, Scored
from model.tasks.judge import judge, majority_scored
from model.tasks.report import Report, Setting

SETTING = Setting(
    num_examples=500,
    num_unjudged=0,
    held_out="split",
    label_counts={"a": 300, "b": 200},
    never_held_out=(),
    method="logistic",
    regularisation=2.0,
    weights=(0.25, 0.75),
    gamma=1.5,
    global_context=0.0,
)


def answers(targets_N: Integers, num_wrong: int, seed: int) -> Scored:
    """Scores that are right but for num_wrong examples."""
    predicted_N = targets_N.copy()
    wrong = np.random.default_rng(seed).permutation(len(targets_N))[:num_wrong]
    predicted_N[wrong] = 1 - predicted_N[wrong]
    scores_NK = np.where(np.arange(2) == predicted_N[:, None], 1.0, -1.0)
    return Scored(scores_NK, np.zeros(scores_NK.shape), targets_N)


def report(setting: Setting, num_wrong: dict[str, int]) -> Report:
    targets_N = np.repeat([0, 1], [60, 40]).astype(np.int64)
    counts_NK = np.broadcast_to(np.array([300.0, 200.0]), (100, 2))
    scored = {"majority": majority_scored(counts_NK, targets_N)}
    scored |= {name: answers(targets_N, wrong, seed) for seed, (name, wrong) in enumerate(num_wrong.items())}
    table = {name: Candidates.only(each) for name, each in scored.items()}
    return judge(setting, table.items(), targets_N == 0, targets_N, np.zeros_like(targets_N))


def test_the_table() -> None:
    found = report(SETTING, {"layer 0": 30, "layer 1": 20, "equal": 25, "learned": 10})
    assert [row.name for row in found.rows] == ["majority", "layer 0", "layer 1", "equal", "learned"]
    assert [row.accuracy for row in found.rows] == [0.6, 0.7, 0.8, 0.75, 0.9]
    assert found.row("majority").macro_recall == 0.5
    assert found.row("majority").log_loss == pytest.approx(-0.6 * np.log(0.6) - 0.4 * np.log(0.4), abs=0.01)
    learned = found.row("learned")
    assert (learned.accuracy_low, learned.accuracy_high) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert found.against_layer.layer == 1
    assert found.against_layer.difference == pytest.approx(0.1)
    assert (found.num_examples, found.num_held_out, found.regularisation) == (500, 100, 2.0)
    assert (found.weights, found.gamma) == ((0.25, 0.75), 1.5)
    with pytest.raises(KeyError):
        found.row("layer 2")


def test_what_predicts_with_the_text_is_told_beside_the_mix_without() -> None:
    setting = replace(SETTING, method="centroid", global_context=0.5)
    found = report(setting, {"layer 0": 30, "layer 1": 20, "equal": 25, "learned": 19, "learned + text": 5})
    assert [row.name for row in found.rows][-2:] == ["learned", "learned + text"]
    assert found.against_layer.layer == 1
    assert found.against_layer.difference == pytest.approx(0.01)
    without = report(setting, {"layer 0": 30, "layer 1": 20, "equal": 25, "learned": 19})
    assert found.against_majority.chance_by_accuracy < without.against_majority.chance_by_accuracy
    assert found.calibration.temperature < without.calibration.temperature
    low, high = 100 * found.against_layer.low, 100 * found.against_layer.high
    assert found.verdict == (
        "On 100 held-out examples the learned mix with the text is right in 95.0% (88.8% to 97.8%), always "
        "answering each word's most frequent sense in 60.0%. Without the text, right in 81.0%, the mix is "
        "not measurably better than layer 1 alone (80.0%; difference +1.0 points, "
        f"{low:+.1f} to {high:+.1f})."
    )


def test_a_clear_gain_in_words() -> None:
    found = report(SETTING, {"layer 0": 40, "layer 1": 40, "equal": 25, "learned": 5})
    low, high = 100 * found.against_layer.low, 100 * found.against_layer.high
    assert found.verdict == (
        "On 100 held-out examples the learned mix is right in 95.0% (88.8% to 97.8%), always answering the "
        "most frequent label in 60.0%. The learned mix is better than layer 0, the best single one (60.0%; "
        f"difference +35.0 points, {low:+.1f} to {high:+.1f})."
    )
    assert found.against_layer.low > 0.2


def test_no_gain_over_a_layer_in_words() -> None:
    found = report(SETTING, {"layer 0": 10, "layer 1": 40, "equal": 25, "learned": 11})
    assert (
        "The learned mix is not measurably better than layer 0 alone (90.0%; difference -1.0" in found.verdict
    )


def test_a_loss_against_a_layer_in_words() -> None:
    found = report(SETTING, {"layer 0": 0, "layer 1": 40, "equal": 25, "learned": 20})
    assert "The learned mix is worse than layer 0 (100.0%; difference -20.0 points" in found.verdict


def test_chance_in_words() -> None:
    setting = replace(SETTING, method="linear", never_held_out=("x", "y", "z", "w"))
    found = report(setting, {"layer 0": 50, "layer 1": 50, "equal": 50, "learned": 50})
    assert not found.against_majority.told_apart
    assert found.verdict == (
        "Your labels cannot be told apart from chance. On 100 held-out examples the learned mix is right in "
        "50.0% (40.4% to 59.6%), always answering each word's most frequent sense in 60.0%. Nothing is known "
        "about 4 labels (x, y, z, ...): with examples in one place only, they were never held out."
    )


def test_layers_alone_are_compared_not_the_equal_mix() -> None:
    found = report(SETTING, {"layer 0": 30, "layer 1": 25, "equal": 0, "learned": 10})
    assert found.against_layer.layer == 1

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from training.probes.metrics import (
    accuracy,
    bio_spans,
    class_f1,
    macro_f1,
    macro_recall,
    matthews,
    mean_macro_f1,
    span_f1,
    spearman,
)
from training.probes.source import IntArray


def ints(*values: int) -> IntArray:
    return np.array(values, dtype=np.int64)


ONCE = ints(1, 1, 1, 1, 1)
GOLD = ints(0, 0, 0, 1, 2)
SAID = ints(0, 0, 1, 1, -1)
RIGHT = ints(1, 1, 0, 1, 0)


def test_accuracy_and_recall_count_examples_and_then_classes() -> None:
    assert accuracy(RIGHT, ONCE) == 3 / 5
    assert accuracy(RIGHT, ints(0, 1, 3, 0, 0)) == 1 / 4
    assert macro_recall(RIGHT, GOLD, ONCE) == pytest.approx((2 / 3 + 1 + 0) / 3)
    # A class that was not drawn is no class.
    assert macro_recall(RIGHT, GOLD, ints(1, 0, 1, 1, 0)) == pytest.approx((1 / 2 + 1) / 2)


def test_f1_of_each_class() -> None:
    # Class 0: 2 right of 3, 2 said: 4 / 5. Class 1: 1 right of 1, 2 said: 2 / 3. Class 2: never said.
    np.testing.assert_allclose(class_f1(SAID, GOLD, ONCE), [4 / 5, 2 / 3, 0])
    assert macro_f1(SAID, GOLD, ONCE) == pytest.approx((4 / 5 + 2 / 3) / 3)
    assert macro_f1(SAID, GOLD, ONCE) == pytest.approx(
        f1_score(GOLD, SAID, average="macro", labels=[0, 1, 2], zero_division=0)
    )
    # Classes 0 and 1 are one word's, class 2 another's.
    assert mean_macro_f1(SAID, GOLD, ints(0, 0, 1), ONCE) == pytest.approx(((4 / 5 + 2 / 3) / 2 + 0) / 2)
    assert mean_macro_f1(SAID, GOLD, ints(0, 0, 1), ints(1, 1, 1, 1, 0)) == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_matthews_is_the_correlation_of_two_classes() -> None:
    gold, said = ints(0, 0, 0, 1, 1), ints(0, 1, 0, 1, 0)
    assert matthews(said, gold, ONCE) == pytest.approx(matthews_corrcoef(gold, said))
    counts = ints(2, 1, 1, 3, 1)
    assert matthews(said, gold, counts) == pytest.approx(
        matthews_corrcoef(np.repeat(gold, counts), np.repeat(said, counts))
    )
    assert matthews(ints(0, 0, 0, 0, 0), gold, ONCE) == 0


def test_spearman_is_the_correlation_of_ranks() -> None:
    values, scores = np.array([0.1, 0.4, 0.4, 0.9, 0.2]), np.array([1.0, 5.0, 3.0, 3.0, 2.0])
    assert spearman(values, scores, ONCE) == pytest.approx(spearmanr(values, scores).statistic)
    counts = ints(2, 0, 1, 3, 1)
    assert spearman(values, scores, counts) == pytest.approx(
        spearmanr(np.repeat(values, counts), np.repeat(scores, counts)).statistic
    )
    assert spearman(np.ones(5), scores, ONCE) == 0


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O O", set()),
        ("B-a I-a O B-b", {(0, 2, "a"), (3, 4, "b")}),
        ("B-a B-a", {(0, 1, "a"), (1, 2, "a")}),
        ("B-a I-b I-b", {(0, 1, "a"), (1, 3, "b")}),
        ("O I-a", {(1, 2, "a")}),
        ("", set()),
    ],
)
def test_spans_of_bio_tags(tags: str, spans: set[tuple[int, int, str]]) -> None:
    assert bio_spans(tags.split()) == spans


def test_span_f1_counts_spans_of_all_sentences() -> None:
    found = np.array([[1, 2, 1], [0, 0, 3]])
    assert span_f1(found, ints(1, 1)) == pytest.approx(2 * 1 / (2 + 4))
    assert span_f1(found, ints(2, 0)) == pytest.approx(2 * 2 / (4 + 2))
    assert span_f1(np.zeros((1, 3), dtype=np.int64), ints(1)) == 0

"""What is reported of predictions: shares from 0 to 1, correlations from -1 to 1.

Each takes how often every example counts (N, whole numbers, 1 for all but in a resample), so that
intervals.py can ask the same question of other samples. Shapes: N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata

from training.probes.source import Doubles, IntArray


def accuracy(right_N: IntArray, counts_N: IntArray) -> float:
    """right_N: 1 for what is right, else 0. 0 when no example counts."""
    return float(right_N @ counts_N / max(counts_N.sum(), 1))


def macro_recall(right_N: IntArray, class_N: IntArray, counts_N: IntArray) -> float:
    """The mean over classes, each alike, of the share found of its examples."""
    totals_K = np.bincount(class_N, weights=counts_N)
    found_K = np.bincount(class_N, weights=right_N * counts_N, minlength=len(totals_K))
    occurs_K = totals_K > 0
    return float(np.mean(found_K[occurs_K] / totals_K[occurs_K]))


def class_f1(predicted_N: IntArray, class_N: IntArray, counts_N: IntArray) -> Doubles:
    """F1 of each class, (K); NaN for one that no example has. predicted_N: -1 for no answer."""
    num_classes = int(max(predicted_N.max(), class_N.max())) + 1
    gold_K = np.bincount(class_N, weights=counts_N, minlength=num_classes)
    answered_N = predicted_N >= 0
    said_K = np.bincount(predicted_N[answered_N], weights=counts_N[answered_N], minlength=num_classes)
    right_N = predicted_N == class_N
    right_K = np.bincount(class_N[right_N], weights=counts_N[right_N], minlength=num_classes)
    f1_K: Doubles = 2 * right_K / np.maximum(gold_K + said_K, 1)
    return np.where(gold_K > 0, f1_K, np.nan)


def macro_f1(predicted_N: IntArray, class_N: IntArray, counts_N: IntArray) -> float:
    """The mean of the classes' F1, of those that examples have."""
    return float(np.nanmean(class_f1(predicted_N, class_N, counts_N)))


def mean_macro_f1(
    predicted_N: IntArray, class_N: IntArray, word_of_class_K: IntArray, counts_N: IntArray
) -> float:
    """Macro-F1 within each word's own classes, then the mean over words."""
    f1_K = class_f1(predicted_N, class_N, counts_N)
    occurs_K = np.isfinite(f1_K)
    word_K = word_of_class_K[: len(f1_K)][occurs_K]
    totals_W = np.bincount(word_K)
    sums_W = np.bincount(word_K, weights=f1_K[occurs_K])
    return float(np.mean(sums_W[totals_W > 0] / totals_W[totals_W > 0]))


def matthews(predicted_N: IntArray, class_N: IntArray, counts_N: IntArray) -> float:
    """Matthews' correlation of two classes, 0 and 1; 0 where one side is constant."""
    weights = counts_N.astype(np.float64)
    said, gold = float(predicted_N @ weights), float(class_N @ weights)
    both, total = float((predicted_N * class_N) @ weights), float(weights.sum())
    spread = said * (total - said) * gold * (total - gold)
    return (total * both - said * gold) / float(np.sqrt(spread)) if spread > 0 else 0.0


def spearman(values_N: Doubles, scores_N: Doubles, counts_N: IntArray) -> float:
    """Correlation of ranks, of equals the mean rank; 0 where one side is constant."""
    ranks = [rankdata(np.repeat(each_N, counts_N)) for each_N in (values_N, scores_N)]
    centred = [each - each.mean() for each in ranks]
    length = float(np.sqrt((centred[0] @ centred[0]) * (centred[1] @ centred[1])))
    return float(centred[0] @ centred[1]) / length if length > 0 else 0.0


Span = tuple[int, int, str]


def bio_spans(tags: Sequence[str]) -> set[Span]:
    """(first, one after the last, type) of each span in one sentence's tags B-type, I-type, O.

    An I- that continues nothing of its type begins a span, as in CoNLL's own scorer.
    """
    spans: set[Span] = set()
    start, kind = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, own = tag.partition("-")
        if prefix != "I" or own != kind:
            if kind:
                spans.add((start, place, kind))
            start, kind = place, own
    return spans


def span_f1(found_S3: IntArray, counts_S: IntArray) -> float:
    """found_S3: of each sentence, the spans that are right, those predicted and those there are."""
    right, predicted, gold = counts_S @ found_S3
    return float(2 * right / (predicted + gold)) if predicted + gold else 0.0

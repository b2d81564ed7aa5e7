"""The linear probe on each kind of vector: what sentence classification and tagging have in common.

Shapes: N examples, L layers, D = 2H.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from training.probes.features import feature_sets
from training.probes.intervals import Row
from training.probes.linear import Standardiser, fit_with_best_c
from training.probes.mix import LearnedMix
from training.probes.source import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Labelled:
    """Vectors (N, L, D) and their labels."""

    vectors_NLD: FloatArray
    labels: Sequence[str]


@dataclass(frozen=True, slots=True)
class Answers:
    """What one probe says: class indices for each test, and how it was chosen."""

    predicted: dict[str, IntArray]
    notes: Row


def probe_each(
    train: Labelled,
    dev: Labelled,
    tests: Mapping[str, FloatArray],
    classes: Sequence[str],
    learned: LearnedMix | None,
    num_threads: int,
    bar: tqdm[None],
) -> Iterator[tuple[str, Answers]]:
    """Yield each kind of vector's name and answers; `bar` moves by one each. tests: (N, L, D) by name."""
    weights_L = None if learned is None else learned.weights_L
    train_ids, dev_ids = label_ids(train.labels, classes), label_ids(dev.labels, classes)
    of_tests = [feature_sets(vectors_NLD, weights_L) for vectors_NLD in tests.values()]
    for (name, raw_ND), (_, dev_ND), *raw_tests in zip(
        feature_sets(train.vectors_NLD, weights_L),
        feature_sets(dev.vectors_NLD, weights_L),
        *of_tests,
        strict=True,
    ):
        standardise = Standardiser.fit(raw_ND)
        fit = fit_with_best_c(
            (standardise(raw_ND), train_ids),
            (standardise(dev_ND), dev_ids),
            len(classes),
            num_threads=num_threads,
        )
        predicted = {
            test: fit.classifier.predict(standardise(test_ND))
            for test, (_, test_ND) in zip(tests, raw_tests, strict=True)
        }
        notes = {"dev_accuracy": fit.dev_accuracy, "c": fit.c, "num_steps": float(fit.classifier.num_steps)}
        yield name, Answers(predicted, notes)
        bar.update()


def label_ids(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """int64 (N,); -1 for a label that is not in `classes`."""
    id_of = {label: i for i, label in enumerate(classes)}
    return np.array([id_of.get(label, -1) for label in labels], dtype=np.int64)


def ids_with_unseen(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """int64 (N,); labels that are not in `classes` get numbers after them, which no probe can answer."""
    unseen = sorted(set(labels) - set(classes))
    return label_ids(labels, [*classes, *unseen])

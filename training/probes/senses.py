"""Word senses: the nearest centroid by cosine, among the senses that the word had in training.

Shapes: L layers, N examples, D = 2H.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.probes.data import SenseExample, read_senses
from training.probes.features import span_vectors
from training.probes.report import Probed, Row
from training.probes.source import FloatArray, LayerSource

MOST_FREQUENT = "most frequent sense"
# Cosines that differ by less are equal. Without context all senses of a word have the same centroid but for
# rounding, which must not choose among them: the float32 vectors themselves are only good to about 1e-7.
SAME_COSINE = 1e-7


@dataclass(frozen=True, slots=True)
class SenseSet:
    """A folder with train.jsonl and test.jsonl."""

    name: str
    metrics: tuple[str, ...] = ("accuracy", "macro_recall")

    def files(self, folder: Path) -> list[Path]:
        return [folder / "train.jsonl", folder / "test.jsonl"]

    def run(self, folder: Path, source: LayerSource, *, num_threads: int, show_progress: bool) -> Probed:
        """Raises ValueError when a file is malformed or empty."""
        train, test = (read_senses(path) for path in self.files(folder))
        if not train or not test:
            raise ValueError(
                f"{folder}: expected examples in train.jsonl and test.jsonl, found none in one of them"
            )
        in_test = {example.sentence for example in test}
        kept = [example for example in train if example.sentence not in in_test]
        if not kept:
            raise ValueError(f"{folder}: every training sentence stands in test")

        examples = [*kept, *test]
        with tqdm(total=len(examples), desc=f"{self.name}: vectors", disable=not show_progress) as bar:
            vectors = span_vectors(
                source,
                [example.sentence for example in examples],
                [[(example.start, example.end)] for example in examples],
                bar,
            )
        rows = {MOST_FREQUENT: score(test, most_frequent_senses(kept, test))}
        for name, vectors_ND in vectors.feature_sets():
            predicted = nearest_centroids(kept, vectors_ND[: len(kept)], test, vectors_ND[len(kept) :])
            rows[name] = score(test, predicted)
        return Probed(
            rows,
            {
                "num_train": len(kept),
                "num_removed_from_train": len(train) - len(kept),
                "num_test": len(test),
                "num_uncovered_spans": vectors.num_uncovered,
            },
        )


def nearest_centroids(
    train: Sequence[SenseExample],
    train_vectors_ND: FloatArray,
    test: Sequence[SenseExample],
    test_vectors_ND: FloatArray,
) -> list[str | None]:
    """Predict a sense for each test example; None for a word without training examples.

    A centroid is the mean of a sense's training vectors. Of equally near ones the first in training wins.
    """
    rows_of: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, example in enumerate(train):
        rows_of[example.word][example.sense].append(i)
    tests_of: dict[str, list[int]] = defaultdict(list)
    for i, example in enumerate(test):
        tests_of[example.word].append(i)

    predicted: list[str | None] = [None] * len(test)
    for word, indices in tests_of.items():
        if word not in rows_of:
            continue
        senses = list(rows_of[word])
        centroids_SD = np.stack(
            [train_vectors_ND[rows].mean(axis=0, dtype=np.float64) for rows in rows_of[word].values()]
        )
        cosines_NS = _unit(test_vectors_ND[indices].astype(np.float64)) @ _unit(centroids_SD).T
        is_nearest_NS = cosines_NS >= cosines_NS.max(axis=1, keepdims=True) - SAME_COSINE
        nearest_N = np.argmax(is_nearest_NS, axis=1)
        for i, nearest in zip(indices, nearest_N, strict=True):
            predicted[i] = senses[int(nearest)]
    return predicted


def _unit(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring rows to length 1; rows of 0 stay 0."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)


def most_frequent_senses(train: Sequence[SenseExample], test: Sequence[SenseExample]) -> list[str | None]:
    """The floor: each word's commonest training sense, of equals the first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for example in train:
        counts[example.word][example.sense] += 1
    return [counts[e.word].most_common(1)[0][0] if e.word in counts else None for e in test]


def score(test: Sequence[SenseExample], predicted: Sequence[str | None]) -> Row:
    """Accuracy, and the mean over (word, sense) of the share found of its test examples; both 0 to 1."""
    found: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for example, sense in zip(test, predicted, strict=True):
        found[example.word, example.sense].append(example.sense == sense)
    return {
        "accuracy": sum(map(sum, found.values())) / len(test),
        "macro_recall": sum(sum(own) / len(own) for own in found.values()) / len(found),
    }

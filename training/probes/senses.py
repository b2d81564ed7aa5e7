"""Word senses: the nearest centroid by cosine, among the senses that the word had in training.

Shapes: L layers, C = L + 1 with the sentence's own vector, N examples, D = 2H.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.tasks.report import LEARNED_WITH_TEXT
from training.probes import metrics as measures
from training.probes.features import feature_sets, mixed, span_vectors
from training.probes.intervals import Measured, Metric, with_intervals
from training.probes.mix import LearnedMix, learn_sense_mixes
from training.probes.picture import picture_of
from training.probes.readers.marked import SenseExample, Span, read_senses
from training.probes.report import SENSE_WITH_TEXT, Picture, Probed
from training.probes.selection import in_stable_order
from training.probes.source import FloatArray, LayerSource, Subject

MOST_FREQUENT = "most frequent sense"
MAX_TRAIN_SENTENCES = 10_000
# Cosines that differ by less are equal. Without context all senses of a word have the same centroid but for
# rounding, which must not choose among them: the float32 vectors themselves are only good to about 1e-7.
SAME_COSINE = 1e-7


@dataclass(frozen=True, slots=True)
class SenseSet:
    """A folder with train.jsonl and test.jsonl. word_in_picture: whose test examples are drawn."""

    name: str
    metrics: tuple[str, ...] = ("accuracy", "macro_recall")
    read: Callable[[Path], list[SenseExample]] = read_senses
    word_in_picture: str = ""
    max_train: int = MAX_TRAIN_SENTENCES

    asks_how_likely: ClassVar[bool] = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / "train.jsonl", folder / "test.jsonl"]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed or empty."""
        train, test = (self.read(path) for path in self.files(folder))
        if not train or not test:
            raise ValueError(
                f"{folder}: expected examples in train.jsonl and test.jsonl, found none in one of them"
            )
        in_test = {example.sentence for example in test}
        kept = [example for example in train if example.sentence not in in_test]
        if not kept:
            raise ValueError(f"{folder}: every training sentence stands in test")
        num_removed = len(train) - len(kept)
        if len(kept) > self.max_train:
            kept = in_stable_order(kept, lambda example: example.sentence)[: self.max_train]

        examples = [*kept, *test]
        with subject.bar(f"{self.name}: vectors", len(examples)) as bar:
            vectors = sense_vectors(
                subject.layers,
                [example.sentence for example in examples],
                [[(example.start, example.end)] for example in examples],
                bar,
            )
        predicted, learned = told_apart(kept, test, vectors.vectors_NCD)
        predicted = {MOST_FREQUENT: most_frequent_senses(kept, test), **predicted}
        measured = {name: Measured(self._metrics_of(test, said)) for name, said in predicted.items()}
        rows, against = with_intervals(measured, np.arange(len(test)))
        return Probed(
            rows,
            {
                "num_train": len(kept),
                "num_removed_from_train": num_removed,
                "num_test": len(test),
                "num_uncovered_spans": vectors.num_uncovered,
            },
            learned,
            against,
            self._picture(test, vectors.vectors_NCD[len(kept) :, :-1]),
        )

    def _picture(self, test: Sequence[SenseExample], test_NLD: FloatArray) -> Picture | None:
        own = [i for i, example in enumerate(test) if example.word == self.word_in_picture]
        if not own:
            return None
        return picture_of(self.word_in_picture, [test[i].sense for i in own], test_NLD[own])

    def _metrics_of(self, test: Sequence[SenseExample], predicted: Sequence[str | None]) -> dict[str, Metric]:
        functions = sense_metrics(test, predicted)
        return {metric: functions[metric] for metric in self.metrics}


@dataclass(frozen=True, slots=True)
class SenseVectors:
    """float32 (N, C, D): each marked word's layers, then the mean of layer 0 over its sentence, C = L + 1.

    `num_uncovered` words without a token have layers of 0.
    """

    vectors_NCD: FloatArray
    num_uncovered: int


def sense_vectors(
    source: LayerSource, sentences: Sequence[str], spans: Sequence[Sequence[Span]], bar: tqdm[None]
) -> SenseVectors:
    """Vectors of spans[i] in sentences[i], for every i, each with its sentence's; as `span_vectors`."""
    sizes = [len(own) for own in spans]
    whole = [(0, len(sentence)) for sentence in sentences]
    asked = [[*own, text] for own, text in zip(spans, whole, strict=True)]
    vectors_NLD = span_vectors(source, sentences, asked, bar).vectors_NLD
    is_text_N = np.zeros(len(vectors_NLD), dtype=np.bool_)
    is_text_N[np.cumsum([size + 1 for size in sizes]) - 1] = True
    _, num_layers, dim = vectors_NLD.shape
    vectors_NCD = np.empty((sum(sizes), num_layers + 1, dim), dtype=np.float32)
    for layer in range(num_layers):
        vectors_NCD[:, layer] = vectors_NLD[~is_text_N, layer]
    vectors_NCD[:, -1] = np.repeat(vectors_NLD[is_text_N, 0], sizes, axis=0)
    num_uncovered = int((~vectors_NCD[:, :-1].any(axis=(1, 2))).sum())
    return SenseVectors(vectors_NCD, num_uncovered)


def told_apart(
    train: Sequence[SenseExample], test: Sequence[SenseExample], vectors_NCD: FloatArray
) -> tuple[dict[str, list[str | None]], dict[str, LearnedMix]]:
    """Each kind of vectors' answers for test, and the mixes that train taught; vectors are of train and test.

    Vectors of one layer have no mixes.
    """
    words, senses = [e.word for e in train], [e.sense for e in train]
    train_NCD, test_NCD = vectors_NCD[: len(train)], vectors_NCD[len(train) :]
    train_NLD, test_NLD = train_NCD[:, :-1], test_NCD[:, :-1]
    mixes = learn_sense_mixes(train_NCD, words, senses)
    weights_L = None if mixes is None else mixes[0].weights_L
    predicted = {
        name: nearest_centroids(train, train_ND, test, test_ND)
        for (name, train_ND), (_, test_ND) in zip(
            feature_sets(train_NLD, weights_L), feature_sets(test_NLD, weights_L), strict=True
        )
    }
    if mixes is None:
        return predicted, {}
    learned = dict(zip(("sense", SENSE_WITH_TEXT), mixes, strict=True))
    weights_C = learned[SENSE_WITH_TEXT].weights_L
    train_ND, test_ND = mixed(train_NCD, weights_C), mixed(test_NCD, weights_C)
    predicted[LEARNED_WITH_TEXT] = nearest_centroids(train, train_ND, test, test_ND)
    return predicted, learned


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


def sense_metrics(test: Sequence[SenseExample], predicted: Sequence[str | None]) -> dict[str, Metric]:
    """Accuracy; the mean over (word, sense) of the share found; the mean over words of macro-F1."""
    entries = sorted({(e.word, e.sense) for e in test})
    class_of = {entry: i for i, entry in enumerate(entries)}
    class_N = np.array([class_of[e.word, e.sense] for e in test], dtype=np.int64)
    # A sense that no test example has is no class: it is an answer that is never right.
    said_N = np.array(
        [class_of.get((e.word, sense or ""), -1) for e, sense in zip(test, predicted, strict=True)]
    )
    right_N = (said_N == class_N).astype(np.int64)
    word_K = np.unique([word for word, _ in entries], return_inverse=True)[1]
    return {
        "accuracy": partial(measures.accuracy, right_N),
        "macro_recall": partial(measures.macro_recall, right_N, class_N),
        "macro_f1": partial(measures.mean_macro_f1, said_N, class_N, word_K),
    }

"""Two vectors and the cosine between them: does a word mean the same twice, how alike are two texts.

Centred: the mean vector taken off first, since a few large dimensions that all texts share hide the others.
Shapes: N pairs, L layers, D = 2H.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

from training.probes import metrics as measures
from training.probes.features import feature_sets, span_vectors, text_vectors
from training.probes.intervals import Measured, Metric, with_intervals
from training.probes.mix import LearnedMix, learn_cosine_mix
from training.probes.readers.pairs import TextPair, WordPair, read_rated_contexts, read_text_pairs
from training.probes.report import Probed
from training.probes.selection import check_not_empty
from training.probes.source import Doubles, FloatArray, Subject

# Cosines are rounded to so many digits: below is rounding of float32, which must not be a threshold.
_DECIMALS = 6


@dataclass(frozen=True, slots=True)
class SameSenseSet:
    """A folder with train.jsonl, dev.jsonl and test.jsonl: same sense above a cosine.

    train teaches the mix, dev the threshold.
    """

    name: str
    read: Callable[[Path], list[WordPair]]
    metrics: tuple[str, ...] = ("accuracy",)

    asks_how_likely: ClassVar[bool] = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / f"{split}.jsonl" for split in ("train", "dev", "test")]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed, or a split is left empty without the test sentences."""
        train, dev, test = (self.read(path) for path in self.files(folder))
        in_test = {marked.sentence for pair in test for marked in (pair.first, pair.second)}
        splits = {"train": _without(train, in_test), "dev": _without(dev, in_test), "test": test}
        check_not_empty(folder, splits)
        with subject.bar(f"{self.name}: vectors", 2 * sum(map(len, splits.values()))) as bar:
            sides = {split: _word_vectors(subject, pairs, bar) for split, pairs in splits.items()}
        scores = {split: np.array([pair.score for pair in pairs]) for split, pairs in splits.items()}
        mix = learn_cosine_mix(*sides["train"], scores["train"])
        measured = {}
        for name, dev_N, test_N in _cosines(sides["dev"], sides["test"], mix):
            threshold, dev_accuracy = best_threshold(dev_N, scores["dev"])
            right_N = ((test_N > threshold) == (scores["test"] > 0)).astype(np.int64)
            notes = {"threshold": threshold, "dev_accuracy": dev_accuracy}
            measured[name] = Measured({"accuracy": partial(measures.accuracy, right_N)}, notes)
        rows, against = with_intervals(measured, np.arange(len(test)))
        details = {f"num_{split}": len(pairs) for split, pairs in splits.items()}
        details["num_removed_from_train"] = len(train) - len(splits["train"])
        details["num_removed_from_dev"] = len(dev) - len(splits["dev"])
        return Probed(rows, details, {"cosine": mix}, against)


@dataclass(frozen=True, slots=True)
class RatedWordsSet:
    """A folder with test.jsonl alone: how alike two words are in their contexts. Nothing is learned."""

    name: str
    metrics: tuple[str, ...] = ("spearman", "spearman_centred")

    asks_how_likely: ClassVar[bool] = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / "test.jsonl"]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Centred by the mean of the test's own words. Raises ValueError for a malformed or empty file."""
        test = read_rated_contexts(*self.files(folder))
        check_not_empty(folder, {"test": test})
        with subject.bar(f"{self.name}: vectors", 2 * len(test)) as bar:
            sides = _word_vectors(subject, test, bar)
        scores_N = np.array([pair.score for pair in test])
        measured = {}
        for (name, first_ND), (_, second_ND) in zip(
            feature_sets(sides[0], None), feature_sets(sides[1], None), strict=True
        ):
            centre_D = 0.5 * (first_ND.mean(axis=0) + second_ND.mean(axis=0))
            measured[name] = Measured(_correlations(first_ND, second_ND, centre_D, scores_N))
        rows, against = with_intervals(measured, np.arange(len(test)))
        return Probed(rows, {"num_test": len(test)}, {}, against)


@dataclass(frozen=True, slots=True)
class SimilaritySet:
    """A folder with dev.tsv and test.tsv: dev teaches the mix and gives the mean to centre by."""

    name: str
    metrics: tuple[str, ...] = ("spearman", "spearman_centred")

    asks_how_likely: ClassVar[bool] = False

    def files(self, folder: Path) -> list[Path]:
        return [folder / "dev.tsv", folder / "test.tsv"]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed, or dev is left empty without the test sentences."""
        dev, test = (read_text_pairs(path) for path in self.files(folder))
        in_test = {text for pair in test for text in (pair.first, pair.second)}
        kept = [pair for pair in dev if not {pair.first, pair.second} & in_test]
        check_not_empty(folder, {"dev": kept, "test": test})
        with subject.bar(f"{self.name}: vectors", 2 * (len(kept) + len(test))) as bar:
            sides = {
                split: _text_vectors(subject, pairs, bar) for split, pairs in (("dev", kept), ("test", test))
            }
        scores_N = np.array([pair.score for pair in test])
        mix = learn_cosine_mix(*sides["dev"], np.array([pair.score for pair in kept]))
        weights_L = None if mix is None else mix.weights_L
        measured = {}
        for (name, dev_first), (_, dev_second), (_, first_ND), (_, second_ND) in zip(
            *(feature_sets(side, weights_L) for side in (*sides["dev"], *sides["test"])), strict=True
        ):
            centre_D = 0.5 * (dev_first.mean(axis=0) + dev_second.mean(axis=0))
            measured[name] = Measured(_correlations(first_ND, second_ND, centre_D, scores_N))
        rows, against = with_intervals(measured, np.arange(len(test)))
        details = {"num_dev": len(kept), "num_removed_from_dev": len(dev) - len(kept), "num_test": len(test)}
        return Probed(rows, details, {"cosine": mix}, against)


def cosines(first_ND: FloatArray, second_ND: FloatArray) -> Doubles:
    """float64 (N,), rounded; 0 where a vector is 0."""
    first_ND, second_ND = first_ND.astype(np.float64), second_ND.astype(np.float64)
    lengths_N = np.linalg.norm(first_ND, axis=1) * np.linalg.norm(second_ND, axis=1)
    dots_N = np.einsum("nd,nd->n", first_ND, second_ND)
    cosines_N: Doubles = (dots_N / np.where(lengths_N > 0, lengths_N, 1.0)).round(_DECIMALS)
    return cosines_N


def best_threshold(values_N: Doubles, labels_N: Doubles) -> tuple[float, float]:
    """The value above which most labels are 1, below which most are 0, and the share that is right.

    Between two neighbouring values, or outside all; of equals the lowest.
    """
    distinct = np.unique(values_N)
    candidates = np.concatenate([[distinct[0] - 1], (distinct[1:] + distinct[:-1]) / 2, [distinct[-1] + 1]])
    order = np.argsort(values_N)
    ones_below = np.concatenate([[0.0], np.cumsum(labels_N[order])])
    below = np.searchsorted(values_N[order], candidates)
    num_right = (below - ones_below[below]) + (labels_N.sum() - ones_below[below])
    best = int(np.argmax(num_right))
    return float(candidates[best]), float(num_right[best] / len(labels_N))


def _without(pairs: Sequence[WordPair], sentences: set[str]) -> list[WordPair]:
    return [p for p in pairs if p.first.sentence not in sentences and p.second.sentence not in sentences]


def _word_vectors(
    subject: Subject, pairs: Sequence[WordPair], bar: tqdm[None]
) -> tuple[FloatArray, FloatArray]:
    marked = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    vectors = span_vectors(
        subject.layers, [m.sentence for m in marked], [[(m.start, m.end)] for m in marked], bar
    )
    return vectors.vectors_NLD[: len(pairs)], vectors.vectors_NLD[len(pairs) :]


def _text_vectors(
    subject: Subject, pairs: Sequence[TextPair], bar: tqdm[None]
) -> tuple[FloatArray, FloatArray]:
    texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
    vectors_NLD = text_vectors(subject.layers, texts, bar).vectors_NLD
    return vectors_NLD[: len(pairs)], vectors_NLD[len(pairs) :]


def _cosines(
    dev: tuple[FloatArray, FloatArray], test: tuple[FloatArray, FloatArray], mix: LearnedMix | None
) -> Iterator[tuple[str, Doubles, Doubles]]:
    """Yield each kind of vector's name, and the cosines of dev's and test's pairs."""
    weights_L = None if mix is None else mix.weights_L
    for (name, dev_first), (_, dev_second), (_, first), (_, second) in zip(
        *(feature_sets(side, weights_L) for side in (*dev, *test)), strict=True
    ):
        yield name, cosines(dev_first, dev_second), cosines(first, second)


def _correlations(
    first_ND: FloatArray, second_ND: FloatArray, centre_D: FloatArray, scores_N: Doubles
) -> dict[str, Metric]:
    plain_N, centred_N = cosines(first_ND, second_ND), cosines(first_ND - centre_D, second_ND - centre_D)
    return {
        "spearman": partial(measures.spearman, plain_N, scores_N),
        "spearman_centred": partial(measures.spearman, centred_N, scores_N),
    }

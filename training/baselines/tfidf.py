"""Texts as counts of words and of characters: TF-IDF, without any vector of a word.

Sentences: logistic regression on it. Pairs: the cosine, of characters alone, which on dev come nearer to what
people say. What is taken of a set is what the probes take. Words are counted alone and in twos, characters
within words in runs of 1 to 4: spaces do not tell a Korean word from its particle.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from training.probes import metrics as measures
from training.probes.readers.pairs import TextPair, read_text_pairs
from training.probes.readers.texts import LabelledText, read_texts
from training.probes.selection import check_not_empty, in_stable_order
from training.probes.sentences import SentenceSet
from training.probes.source import Doubles, IntArray

# TF-IDF rows have length 1 and a few entries each: the weights have to be larger than those of dense vectors.
C_VALUES = (1.0, 3.0, 10.0)
MAX_STEPS = 100
# Of the gradient: with scikit-learn's own 1e-4 fifty classes take many times as long, and are as often right.
TOLERANCE = 1e-3

Matrix = Any
"""scipy.sparse, float64 (N, features)."""


class TextCounts:
    """The vocabulary of some texts, and other texts counted in it."""

    def __init__(self, texts: Sequence[str], *, words: bool = True) -> None:
        """words: count them too, not characters alone."""
        self._parts = [TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True)]
        if words:
            self._parts.append(
                TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", sublinear_tf=True)
            )
        for part in self._parts:
            part.fit(texts)

    def __call__(self, texts: Sequence[str]) -> Matrix:
        return hstack([part.transform(texts) for part in self._parts]).tocsr()


def probe_sentences(probe_set: SentenceSet, folder: Path) -> dict[str, float]:
    """Return the set's metrics, those of its noisy copies too, by name.

    C is chosen on dev. Raises ValueError when a file is malformed, or a split is left empty.
    """
    train, dev, *tests = (read_texts(path, probe_set.label_columns) for path in probe_set.files(folder))
    in_test = {example.text for example in tests[0]}
    train = _select(train, in_test, probe_set.max_train)
    dev = _select(dev, in_test, probe_set.max_dev)
    check_not_empty(folder, {"train": train, "dev": dev, "test": tests[0]})
    counts = TextCounts([example.text for example in train])
    train_x, dev_x = (counts([example.text for example in own]) for own in (train, dev))
    found = {}
    for column, name in enumerate(probe_set.label_columns):
        labels, dev_labels = ([example.labels[column] for example in own] for own in (train, dev))
        classifier = _best_on_dev(train_x, labels, dev_x, dev_labels)
        for kind, test in zip(("test", *probe_set.noisy_kinds), tests, strict=True):
            predicted = classifier.predict(counts([example.text for example in test]))
            suffix = (f"_{name}" if column else "") + ("" if kind == "test" else f"_{kind}")
            gold = [example.labels[column] for example in test]
            for metric in probe_set.measured_by:
                found[metric + suffix] = measure(metric, gold, list(predicted))
    return found


def probe_pairs(folder: Path) -> dict[str, float]:
    """Spearman's correlation of the cosine with what people said; weights of the training texts."""
    train, test = (read_text_pairs(folder / f"{split}.tsv") for split in ("train", "test"))
    counts = TextCounts([text for pair in train for text in (pair.first, pair.second)], words=False)
    scores_N = np.array([pair.score for pair in test])
    cosines_N = _cosines(counts, test)
    return {"spearman": measures.spearman(cosines_N, scores_N, np.ones(len(test), dtype=np.int64))}


def measure(metric: str, gold: Sequence[str], predicted: Sequence[str]) -> float:
    """metric: one of those that a `SentenceSet` may have."""
    classes = sorted({*gold, *predicted})
    predicted_N, gold_N = (_ids(labels, classes) for labels in (predicted, gold))
    counts_N = np.ones(len(gold), dtype=np.int64)
    if metric == "accuracy":
        return measures.accuracy((predicted_N == gold_N).astype(np.int64), counts_N)
    if metric == "macro_f1":
        return measures.macro_f1(predicted_N, gold_N, counts_N)
    assert metric == "mcc"
    return measures.matthews(predicted_N, gold_N, counts_N)


def _best_on_dev(
    train_x: Matrix, labels: Sequence[str], dev_x: Matrix, dev_labels: Sequence[str]
) -> LogisticRegression:
    """Of equals the most regularised."""
    classifiers = [
        LogisticRegression(C=c, max_iter=MAX_STEPS, tol=TOLERANCE).fit(train_x, labels) for c in C_VALUES
    ]
    return max(classifiers, key=lambda classifier: classifier.score(dev_x, dev_labels))


def _cosines(counts: TextCounts, pairs: Sequence[TextPair]) -> Doubles:
    first, second = counts([pair.first for pair in pairs]), counts([pair.second for pair in pairs])
    products_N = np.asarray(first.multiply(second).sum(axis=1)).ravel()
    lengths_N = [np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel()) for x in (first, second)]
    cosines_N: Doubles = products_N / np.maximum(lengths_N[0] * lengths_N[1], 1e-12)
    return cosines_N


def _select(examples: Sequence[LabelledText], in_test: set[str], most: int) -> list[LabelledText]:
    return in_stable_order((e for e in examples if e.text not in in_test), lambda e: e.text)[:most]


def _ids(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    number = {label: i for i, label in enumerate(classes)}
    return np.array([number[label] for label in labels], dtype=np.int64)

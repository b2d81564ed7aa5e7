"""Sentence classification: the mean of the token vectors, and the linear probe.

A set may have copies of its test with typing errors: the same probes, trained on clean text, answer them too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.probes import metrics as measures
from training.probes.features import num_feature_sets, text_vectors
from training.probes.intervals import Measured, Metric, Row, with_intervals
from training.probes.mix import LearnedMix, learn_label_mix
from training.probes.probing import Answers, Labelled, ids_with_unseen, probe_each
from training.probes.readers.texts import LabelledText, read_texts
from training.probes.report import Probed
from training.probes.selection import check_not_empty, in_stable_order
from training.probes.source import FloatArray, IntArray, Subject

MAX_TRAIN_SENTENCES = 10_000
MAX_DEV_SENTENCES = 2_000
MAJORITY = "most frequent label"

_METRICS: dict[str, Callable[[IntArray, IntArray, IntArray], float]] = {
    "accuracy": lambda predicted_N, class_N, counts_N: measures.accuracy(
        (predicted_N == class_N).astype(np.int64), counts_N
    ),
    "macro_f1": measures.macro_f1,
    "mcc": measures.matthews,
}


@dataclass(frozen=True, slots=True)
class SentenceSet:
    """A folder with train.tsv, dev.tsv and test.tsv.

    measured_by: "accuracy", "macro_f1", "mcc", the main one first, as of label_columns. noisy_folder: a
    folder beside it with NAME.KIND.tsv, a copy of the test, for each of noisy_kinds.
    """

    name: str
    measured_by: tuple[str, ...] = ("accuracy",)
    label_columns: tuple[str, ...] = ("label",)
    noisy_folder: str = ""
    noisy_kinds: tuple[str, ...] = ()
    max_train: int = MAX_TRAIN_SENTENCES
    max_dev: int = MAX_DEV_SENTENCES

    asks_how_likely: ClassVar[bool] = False

    @property
    def metrics(self) -> tuple[str, ...]:
        more = (f"{metric}_{column}" for column in self.label_columns[1:] for metric in self.measured_by)
        return (*self.measured_by, *more)

    def files(self, folder: Path) -> list[Path]:
        clean = [folder / f"{split}.tsv" for split in ("train", "dev", "test")]
        noisy = folder.parent / self.noisy_folder
        return clean + [noisy / f"{self.name}.{kind}.tsv" for kind in self.noisy_kinds]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed, or a split is left empty without the test sentences."""
        train, dev, *tests = (read_texts(path, self.label_columns) for path in self.files(folder))
        in_test = {example.text for example in tests[0]}
        splits = {
            "train": _select(train, in_test, self.max_train),
            "dev": _select(dev, in_test, self.max_dev),
            "test": tests[0],
            **dict(zip(self.noisy_kinds, tests[1:], strict=True)),
        }
        check_not_empty(folder, splits)
        num_texts = sum(map(len, splits.values()))
        with subject.bar(f"{self.name}: vectors", num_texts) as bar:
            pooled = {
                split: text_vectors(subject.layers, [example.text for example in examples], bar)
                for split, examples in splits.items()
            }
        vectors = {split: each.vectors_NLD for split, each in pooled.items()}
        details = {f"num_{split}": len(examples) for split, examples in splits.items()}
        details["num_removed_from_train"] = sum(example.text in in_test for example in train)
        details["num_removed_from_dev"] = sum(example.text in in_test for example in dev)
        details["num_texts_without_token"] = sum(each.num_uncovered for each in pooled.values())
        return self._probe(splits, vectors, details, subject)

    def _probe(
        self,
        splits: dict[str, list[LabelledText]],
        vectors: dict[str, FloatArray],
        details: dict[str, int],
        subject: Subject,
    ) -> Probed:
        measured: dict[str, dict[str, Metric]] = {}
        notes: dict[str, Row] = {}
        learned: dict[str, LearnedMix | None] = {}
        num_probes = num_feature_sets(subject.layers.num_vector_layers) * len(self.label_columns)
        with subject.bar(f"{self.name}: probes", num_probes) as bar:
            for column_number, column in enumerate(self.label_columns):
                labels = {split: [e.labels[column_number] for e in own] for split, own in splits.items()}
                train = Labelled(vectors["train"], labels["train"])
                dev = Labelled(vectors["dev"], labels["dev"])
                mix = learn_label_mix(
                    "classify", (train.vectors_NLD, train.labels), (dev.vectors_NLD, dev.labels)
                )
                learned[column] = mix
                classes = sorted(set(train.labels))
                tests = {split: vectors[split] for split in ("test", *self.noisy_kinds)}
                answers = {MAJORITY: _majority(train.labels, classes, labels, tests)}
                answers |= dict(probe_each(train, dev, tests, classes, mix, subject.num_threads, bar))
                for name, answer in answers.items():
                    suffix = f"_{column}" if column_number else ""
                    found = self._metrics_of(answer, labels, classes, suffix)
                    measured.setdefault(name, {}).update(found)
                    notes.setdefault(name, answer.notes)
        together = {name: Measured(own, notes[name]) for name, own in measured.items()}
        rows, against = with_intervals(together, np.arange(len(splits["test"])))
        return Probed(rows, details, learned, against)

    def _metrics_of(
        self, answer: Answers, labels: dict[str, list[str]], classes: Sequence[str], suffix: str
    ) -> dict[str, Metric]:
        return {
            metric + suffix + ("" if test == "test" else f"_{test}"): partial(
                _METRICS[metric], predicted_N, ids_with_unseen(labels[test], classes)
            )
            for test, predicted_N in answer.predicted.items()
            for metric in self.measured_by
        }


def _select(examples: Sequence[LabelledText], in_test: set[str], most: int) -> list[LabelledText]:
    kept = in_stable_order((e for e in examples if e.text not in in_test), lambda e: e.text)
    return kept[:most]


def _majority(
    train: Sequence[str],
    classes: Sequence[str],
    labels: dict[str, list[str]],
    tests: dict[str, FloatArray],
) -> Answers:
    """The commonest label in training, of equals the first by name."""
    counts = Counter(train)
    commonest = max(range(len(classes)), key=lambda k: counts[classes[k]])
    return Answers({test: np.full(len(labels[test]), commonest) for test in tests}, {})

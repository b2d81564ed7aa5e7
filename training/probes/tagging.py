"""Part of speech from one word's vector, by the linear probe.

Shapes: N words, D = 2H.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from training.probes.data import TaggedSentence, in_stable_order, read_conllu, up_to_words
from training.probes.features import SpanVectors, feature_set_names, span_vectors
from training.probes.linear import IntArray, Standardiser, fit_with_best_c
from training.probes.report import Probed, Row
from training.probes.source import LayerSource

MAX_TRAIN_WORDS = 40_000
MAX_DEV_WORDS = 10_000


@dataclass(frozen=True, slots=True)
class TaggingSet:
    """A folder with train.conllu, dev.conllu and test.conllu; the tag is UPOS."""

    name: str
    max_train_words: int = MAX_TRAIN_WORDS
    max_dev_words: int = MAX_DEV_WORDS
    metrics: tuple[str, ...] = ("accuracy",)

    def files(self, folder: Path) -> list[Path]:
        return [folder / f"{split}.conllu" for split in ("train", "dev", "test")]

    def run(self, folder: Path, source: LayerSource, *, num_threads: int, show_progress: bool) -> Probed:
        """Raises ValueError when a file is malformed, or a split is left empty without the test sentences."""
        train, dev, test = (read_conllu(path) for path in self.files(folder))
        in_test = {sentence.words for sentence in test}
        splits = {
            "train": self._select(train, in_test, self.max_train_words),
            "dev": self._select(dev, in_test, self.max_dev_words),
            "test": test,
        }
        for split, sentences in splits.items():
            if not sentences:
                raise ValueError(f"{folder}: no sentence left in {split}")

        with tqdm(
            total=sum(map(len, splits.values())), desc=f"{self.name}: vectors", disable=not show_progress
        ) as bar:
            vectors = {
                split: span_vectors(source, [s.text for s in sentences], [s.spans for s in sentences], bar)
                for split, sentences in splits.items()
            }
        with tqdm(
            total=len(feature_set_names(source.num_vector_layers)),
            desc=f"{self.name}: probes",
            disable=not show_progress,
        ) as bar:
            rows = self._probe_each(splits, vectors, num_threads, bar)
        details: dict[str, int] = {"num_removed_from_train": sum(s.words in in_test for s in train)}
        details["num_removed_from_dev"] = sum(s.words in in_test for s in dev)
        for split, sentences in splits.items():
            details[f"num_{split}_sentences"] = len(sentences)
            details[f"num_{split}_words"] = sum(len(s.words) for s in sentences)
        details["num_uncovered_spans"] = sum(v.num_uncovered for v in vectors.values())
        return Probed(rows, details)

    @staticmethod
    def _select(
        sentences: Sequence[TaggedSentence], in_test: set[tuple[str, ...]], max_words: int
    ) -> list[TaggedSentence]:
        return up_to_words(in_stable_order(s for s in sentences if s.words not in in_test), max_words)

    @staticmethod
    def _probe_each(
        splits: dict[str, list[TaggedSentence]],
        vectors: dict[str, SpanVectors],
        num_threads: int,
        bar: tqdm[None],
    ) -> dict[str, Row]:
        classes = sorted({tag for sentence in splits["train"] for tag in sentence.tags})
        labels = {split: label_ids(sentences, classes) for split, sentences in splits.items()}
        rows: dict[str, Row] = {}
        for sets in zip(*(vectors[split].feature_sets() for split in splits), strict=True):
            name = sets[0][0]
            raw = {split: vectors_ND for split, (_, vectors_ND) in zip(splits, sets, strict=True)}
            standardise = Standardiser.fit(raw["train"])
            fit = fit_with_best_c(
                (standardise(raw["train"]), labels["train"]),
                (standardise(raw["dev"]), labels["dev"]),
                len(classes),
                num_threads=num_threads,
            )
            rows[name] = {
                "accuracy": fit.classifier.accuracy(standardise(raw["test"]), labels["test"]),
                "dev_accuracy": fit.dev_accuracy,
                "c": fit.c,
                "num_steps": fit.classifier.num_steps,
            }
            bar.update()
        return rows


def label_ids(sentences: Sequence[TaggedSentence], classes: Sequence[str]) -> IntArray:
    """int64 (N,) over all words in order; -1 for a tag that is not in `classes`."""
    id_of = {tag: i for i, tag in enumerate(classes)}
    return np.array([id_of.get(tag, -1) for sentence in sentences for tag in sentence.tags], dtype=np.int64)

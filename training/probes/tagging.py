"""A tag for each word from its one vector, by the linear probe: parts of speech, and names as BIO tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.probes import metrics as measures
from training.probes.features import num_feature_sets, span_vectors
from training.probes.intervals import Measured, with_intervals
from training.probes.mix import group_ids, learn_label_mix
from training.probes.probing import Labelled, ids_with_unseen, probe_each
from training.probes.readers.tagged import TaggedSentence, read_conllu
from training.probes.report import Probed
from training.probes.selection import check_not_empty, in_stable_order, up_to_words
from training.probes.source import FloatArray, IntArray, Subject

MAX_TRAIN_WORDS = 40_000
MAX_DEV_WORDS = 10_000


@dataclass(frozen=True, slots=True)
class TaggingSet:
    """A folder with a file of words and tags for train, dev and test.

    metric: "accuracy" of words, or "span_f1" of the spans that BIO tags stand for.
    """

    name: str
    metric: str = "accuracy"
    suffix: str = "conllu"
    read: Callable[[Path], list[TaggedSentence]] = read_conllu
    max_train_words: int = MAX_TRAIN_WORDS
    max_dev_words: int = MAX_DEV_WORDS

    asks_how_likely: ClassVar[bool] = False

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def files(self, folder: Path) -> list[Path]:
        return [folder / f"{split}.{self.suffix}" for split in ("train", "dev", "test")]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed, or a split is left empty without the test sentences."""
        train, dev, test = (self.read(path) for path in self.files(folder))
        in_test = {sentence.words for sentence in test}
        splits = {
            "train": _select(train, in_test, self.max_train_words),
            "dev": _select(dev, in_test, self.max_dev_words),
            "test": test,
        }
        check_not_empty(folder, splits)
        with subject.bar(f"{self.name}: vectors", sum(map(len, splits.values()))) as bar:
            pooled = {
                split: span_vectors(subject.layers, [s.text for s in own], [s.spans for s in own], bar)
                for split, own in splits.items()
            }
        details: dict[str, int] = {"num_removed_from_train": sum(s.words in in_test for s in train)}
        details["num_removed_from_dev"] = sum(s.words in in_test for s in dev)
        for split, sentences in splits.items():
            details[f"num_{split}_sentences"] = len(sentences)
            details[f"num_{split}_words"] = sum(len(s.words) for s in sentences)
        details["num_uncovered_spans"] = sum(each.num_uncovered for each in pooled.values())
        vectors = {split: each.vectors_NLD for split, each in pooled.items()}
        return self._probe(splits, vectors, details, subject)

    def _probe(
        self,
        splits: dict[str, list[TaggedSentence]],
        vectors: dict[str, FloatArray],
        details: dict[str, int],
        subject: Subject,
    ) -> Probed:
        tags = {split: [tag for s in own for tag in s.tags] for split, own in splits.items()}
        train, dev = (Labelled(vectors[split], tags[split]) for split in ("train", "dev"))
        sentence_of_word = group_ids([len(s.tags) for s in splits["train"]])
        with subject.bar(f"{self.name}: probes", num_feature_sets(subject.layers.num_vector_layers)) as bar:
            mix = learn_label_mix(
                "tag",
                (train.vectors_NLD, train.labels),
                (dev.vectors_NLD, dev.labels),
                sentence_of_word.tolist(),
            )
            classes = sorted(set(train.labels))
            answers = dict(
                probe_each(train, dev, {"test": vectors["test"]}, classes, mix, subject.num_threads, bar)
            )
        measured = {}
        for name, answer in answers.items():
            predicted_N = answer.predicted["test"]
            if self.metric == "span_f1":
                found_S3 = _spans_found(splits["test"], [classes[k] for k in predicted_N])
                measured[name] = Measured({"span_f1": partial(measures.span_f1, found_S3)}, answer.notes)
            else:
                right_N = (predicted_N == ids_with_unseen(tags["test"], classes)).astype(np.int64)
                measured[name] = Measured({"accuracy": partial(measures.accuracy, right_N)}, answer.notes)
        # What is drawn anew are sentences; where it is words that count, all of a sentence's.
        sizes = [1 if self.metric == "span_f1" else len(s.tags) for s in splits["test"]]
        rows, against = with_intervals(measured, group_ids(sizes))
        return Probed(rows, details, {"tag": mix}, against)


def _select(
    sentences: Sequence[TaggedSentence], in_test: set[tuple[str, ...]], max_words: int
) -> list[TaggedSentence]:
    kept = in_stable_order((s for s in sentences if s.words not in in_test), lambda s: s.text)
    return up_to_words(kept, max_words)


def _spans_found(sentences: Sequence[TaggedSentence], predicted: Sequence[str]) -> IntArray:
    """int64 (S, 3): of each sentence, right, predicted and gold spans."""
    found = []
    at = 0
    for sentence in sentences:
        said = measures.bio_spans(predicted[at : at + len(sentence.tags)])
        gold = measures.bio_spans(sentence.tags)
        found.append((len(said & gold), len(said), len(gold)))
        at += len(sentence.tags)
    return np.array(found, dtype=np.int64)

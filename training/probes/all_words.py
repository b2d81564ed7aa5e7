"""All-words sense disambiguation: the nearest centroid, trained on SemCor, back-off to WordNet's first sense.

A centroid needs no more than a few sentences, so each sense has at most so many: the corpus is read in part.
Protocol: Peters et al. 2018 (arXiv:1802.05365), section 5.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.probes import metrics as measures
from training.probes.intervals import Measured, Metric, with_intervals
from training.probes.readers.all_words import AnnotatedSentence, Instance, read_annotated
from training.probes.readers.marked import SenseExample
from training.probes.readers.wordnet import read_first_senses, wordnet_files
from training.probes.report import Probed
from training.probes.selection import in_stable_order
from training.probes.senses import MOST_FREQUENT, most_frequent_senses, sense_vectors, told_apart
from training.probes.source import IntArray, Subject

MAX_EXAMPLES_PER_SENSE = 5
FIRST_SENSE = "first sense"


@dataclass(frozen=True, slots=True)
class AllWordsSet:
    """A folder with train.jsonl and tests; all tests together are the test.

    wordnet: the folder of WordNet 3.0. With it every instance is answered, and the metric is F1 (which is
    accuracy then); without it, the accuracy on the words that training has.
    """

    name: str
    tests: tuple[str, ...]
    wordnet: Path | None = None
    max_examples_per_sense: int = MAX_EXAMPLES_PER_SENSE

    asks_how_likely: ClassVar[bool] = False

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy_covered",) if self.wordnet is None else ("f1", "accuracy_covered")

    def files(self, folder: Path) -> list[Path]:
        own = [folder / f"{split}.jsonl" for split in ("train", *self.tests)]
        return own if self.wordnet is None else [*own, *wordnet_files(self.wordnet)]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when a file is malformed or no test word stands in training."""
        train, *tests = (read_annotated(folder / f"{split}.jsonl") for split in ("train", *self.tests))
        asked = [(sentence, instance) for own in tests for sentence in own for instance in sentence.instances]
        words = {instance.word for _, instance in asked}
        everything = [_example(s, i) for s in train for i in s.instances if i.word in words]
        known = {example.word for example in everything}
        if not known:
            raise ValueError(f"{folder}: no word of {', '.join(self.tests)} stands in train.jsonl")
        in_test = {sentence.text for own in tests for sentence in own}
        kept = self._select([s for s in train if s.text not in in_test], words)
        answered = [_example(sentence, instance) for sentence, instance in asked]
        examples = [*kept, *answered]
        with subject.bar(f"{self.name}: vectors", len(examples)) as bar:
            # In the examples' order: sentences are not put together unless they are neighbours already.
            vectors = sense_vectors(subject.layers, *_by_sentence(examples), bar)
        predicted, learned = told_apart(kept, answered, vectors.vectors_NCD)
        predicted = {MOST_FREQUENT: most_frequent_senses(everything, answered), **predicted}
        first = {} if self.wordnet is None else read_first_senses(self.wordnet)
        if first:
            predicted[FIRST_SENSE] = [first.get(instance.word) for _, instance in asked]
        instances = [instance for _, instance in asked]
        covered_N = np.array([instance.word in known for instance in instances], dtype=np.int64)
        in_set_N = np.repeat(np.arange(len(tests)), [sum(len(s.instances) for s in own) for own in tests])
        measured = {
            name: Measured(self._metrics_of(instances, said, first, covered_N, in_set_N))
            for name, said in predicted.items()
        }
        sentence_ids = np.unique([sentence.text for sentence, _ in asked], return_inverse=True)[1]
        rows, against = with_intervals(measured, sentence_ids.astype(np.int64))
        return Probed(
            rows,
            {
                "num_train": len(kept),
                "num_train_sentences": len({e.sentence for e in kept}),
                "num_test": len(asked),
                "num_test_covered": int(covered_N.sum()),
                "num_uncovered_spans": vectors.num_uncovered,
            },
            learned,
            against,
        )

    def _select(self, train: Sequence[AnnotatedSentence], words: set[str]) -> list[SenseExample]:
        """The first examples of each sense in a stable order, sentence by sentence."""
        counts: Counter[tuple[str, str]] = Counter()
        kept: list[SenseExample] = []
        for sentence in in_stable_order(train, lambda s: s.text):
            for instance in sentence.instances:
                entry = (instance.word, instance.keys[0])
                if instance.word in words and counts[entry] < self.max_examples_per_sense:
                    counts[entry] += 1
                    kept.append(_example(sentence, instance))
        return kept

    def _metrics_of(
        self,
        instances: Sequence[Instance],
        predicted: Sequence[str | None],
        first: dict[str, str],
        covered_N: IntArray,
        in_set_N: IntArray,
    ) -> dict[str, Metric]:
        answers = [said or first.get(i.word) for said, i in zip(predicted, instances, strict=True)]
        right_N = np.array(
            [said in i.keys for said, i in zip(answers, instances, strict=True)], dtype=np.int64
        )
        found: dict[str, Metric] = {"accuracy_covered": partial(_accuracy_of, right_N, covered_N)}
        if self.wordnet is not None:
            per_set: dict[str, Metric] = {
                f"f1_{test}": partial(_accuracy_of, right_N, (in_set_N == number).astype(np.int64))
                for number, test in enumerate(self.tests)
            }
            found = {"f1": partial(measures.accuracy, right_N), **found, **per_set}
        return found


def _accuracy_of(right_N: IntArray, part_N: IntArray, counts_N: IntArray) -> float:
    """Accuracy over the examples of a part (1) alone."""
    return measures.accuracy(right_N, counts_N * part_N)


def _example(sentence: AnnotatedSentence, instance: Instance) -> SenseExample:
    return SenseExample(instance.word, instance.keys[0], sentence.text, *instance.span)


def _by_sentence(examples: Sequence[SenseExample]) -> tuple[list[str], list[list[tuple[int, int]]]]:
    """Neighbouring examples of one sentence as one sentence with several spans."""
    sentences: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    for example in examples:
        if not sentences or sentences[-1] != example.sentence:
            sentences.append(example.sentence)
            spans.append([])
        spans[-1].append((example.start, example.end))
    return sentences, spans

"""Which of two texts the language model finds likelier: minimal pairs, and alternatives after a premise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from training.probes import metrics as measures
from training.probes.intervals import Measured, with_intervals
from training.probes.readers.choices import (
    Alternatives,
    MinimalPair,
    read_alternatives,
    read_minimal_pairs,
)
from training.probes.report import Probed
from training.probes.selection import check_not_empty
from training.probes.source import Doubles, IntArray, Subject

LIKELIER = "likelier sentence"
SHORTER = "shorter sentence"
MAX_PAIRS_PER_PARADIGM = 100
# Sentences scored between two moves of the bar.
_SENTENCES_PER_STEP = 512


@dataclass(frozen=True, slots=True)
class MinimalPairSet:
    """A folder with dev.tsv. Right: the grammatical sentence is likelier, forward and backward together."""

    name: str
    metrics: tuple[str, ...] = ("accuracy",)
    max_pairs_per_paradigm: int = MAX_PAIRS_PER_PARADIGM

    asks_how_likely: ClassVar[bool] = True

    def files(self, folder: Path) -> list[Path]:
        return [folder / "dev.tsv"]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when the file is malformed or empty."""
        pairs = self._select(read_minimal_pairs(*self.files(folder)))
        check_not_empty(folder, {"dev": pairs})
        scores_N = _scores(self.name, [p.good for p in pairs] + [p.bad for p in pairs], subject)
        sizes_N = np.array([-len(text) for text in [p.good for p in pairs] + [p.bad for p in pairs]])
        right = {LIKELIER: _first_is_higher(scores_N), SHORTER: _first_is_higher(sizes_N)}
        paradigms, paradigm_N = np.unique([p.paradigm for p in pairs], return_inverse=True)
        measured = {
            name: Measured({"accuracy": partial(measures.accuracy, r_N)}) for name, r_N in right.items()
        }
        rows, _ = with_intervals(measured, np.arange(len(pairs)))
        for number, paradigm in enumerate(paradigms):
            rows[LIKELIER][f"accuracy_{paradigm}"] = float(right[LIKELIER][paradigm_N == number].mean())
        return Probed(rows, {"num_pairs": len(pairs), "num_paradigms": len(paradigms)})

    def _select(self, pairs: Sequence[MinimalPair]) -> list[MinimalPair]:
        """The first pairs of each paradigm."""
        counts: Counter[str] = Counter()
        kept = []
        for pair in pairs:
            counts[pair.paradigm] += 1
            if counts[pair.paradigm] <= self.max_pairs_per_paradigm:
                kept.append(pair)
        return kept


@dataclass(frozen=True, slots=True)
class AlternativesSet:
    """A folder with test.tsv: the right alternative is the one that its premise makes likelier.

    By how much: the log-probability of both together, the cause first, less that of the alternative alone,
    which a longer or a rarer one would lose by.
    """

    name: str
    metrics: tuple[str, ...] = ("accuracy",)

    asks_how_likely: ClassVar[bool] = True

    def files(self, folder: Path) -> list[Path]:
        return [folder / "test.tsv"]

    def run(self, folder: Path, subject: Subject) -> Probed:
        """Raises ValueError when the file is malformed or empty."""
        test = read_alternatives(*self.files(folder))
        check_not_empty(folder, {"test": test})
        ordered = [(choice, which) for which in (0, 1) for choice in test]
        together = [_in_order(choice, choice.alternatives[which]) for choice, which in ordered]
        alone = [choice.alternatives[which] for choice, which in ordered]
        scores_N = _scores(self.name, [*together, *alone], subject)
        gains_N = scores_N[: len(together)] - scores_N[len(together) :]
        right_N = np.array([choice.right for choice in test])
        measured = {
            LIKELIER: Measured({"accuracy": partial(measures.accuracy, _chosen(gains_N, right_N))}),
            SHORTER: Measured(
                {"accuracy": partial(measures.accuracy, _chosen(np.array([-len(t) for t in alone]), right_N))}
            ),
        }
        rows, _ = with_intervals(measured, np.arange(len(test)))
        return Probed(rows, {"num_test": len(test)})


def _scores(name: str, sentences: Sequence[str], subject: Subject) -> Doubles:
    if subject.scorer is None:
        raise ValueError(f"{name}: expected a model that says how likely a sentence is, got vectors alone")
    # By length over the whole set, so that a step's sentences pad each other little.
    order = sorted(range(len(sentences)), key=lambda i: (len(sentences[i]), i))
    scores_N = np.empty(len(sentences))
    with subject.bar(f"{name}: scores", len(sentences)) as bar:
        for at in range(0, len(order), _SENTENCES_PER_STEP):
            step = order[at : at + _SENTENCES_PER_STEP]
            scores_N[step] = subject.scorer.sentence_scores([sentences[i] for i in step])
            bar.update(len(step))
    return scores_N


def _first_is_higher(values_N: Doubles | IntArray) -> IntArray:
    """values_N: of all first texts, then of all second ones. Equal ones are not told apart, hence wrong."""
    half = len(values_N) // 2
    return (values_N[:half] > values_N[half:]).astype(np.int64)


def _chosen(values_N: Doubles | IntArray, right_N: IntArray) -> IntArray:
    """1 where the alternative with the higher value, of equals the first, is the right one (0 or 1)."""
    half = len(values_N) // 2
    second_is_higher_N = (values_N[half:] > values_N[:half]).astype(np.int64)
    chosen_N: IntArray = (second_is_higher_N == right_N).astype(np.int64)
    return chosen_N


def _in_order(choice: Alternatives, alternative: str) -> str:
    return f"{alternative} {choice.premise}" if choice.is_cause else f"{choice.premise} {alternative}"

"""What a task predicts with: a linear head on the served vector, or one part of it for each word's senses.

Shape letters: N examples, D vector dim, K labels, R rows (the senses of all words, word by word), S senses of
a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.tasks.calibration import Doubles, softmax_rows
from model.tasks.fields import Fields, array_document

Floats = npt.NDArray[np.float32]
SenseMethod = Literal["centroid", "linear"]
SENSE_METHODS: tuple[SenseMethod, ...] = ("centroid", "linear")


@dataclass(frozen=True, eq=False)
class LinearHead:
    """Probabilities are softmax(weight x + bias); the temperature is already in both."""

    weight_KD: Floats
    bias_K: Floats

    @property
    def dimension(self) -> int:
        return int(self.weight_KD.shape[1])

    def probabilities(self, mixed_ND: Floats) -> Doubles:
        """float64 (N, K), rows that sum to 1. Raises ValueError when D is another."""
        check_vectors(mixed_ND, self.dimension)
        scores_NK = mixed_ND.astype(np.float64) @ self.weight_KD.T.astype(np.float64) + self.bias_K
        return softmax_rows(scores_NK)

    def to_document(self) -> dict[str, Any]:
        return {"weight": array_document(self.weight_KD), "bias": array_document(self.bias_K)}

    @classmethod
    def from_document(cls, fields: Fields, num_labels: int) -> LinearHead:
        fields.only("weight", "bias")
        return cls(fields.array("weight", num_labels, "D"), fields.array("bias", num_labels))


@dataclass(frozen=True, slots=True)
class SenseWord:
    """A word, its senses as indices into the task's labels, and how many examples each of them had."""

    word: str
    labels: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SensePrediction:
    """`labels` are the word's own senses, as indices into the task's, with float64 `probabilities`.

    They sum to 1, but for a word of which only one sense was ever seen: see `one_sense_probability`. Both are
    empty for a word that is not known.
    """

    known: bool
    labels: tuple[int, ...]
    probabilities: Doubles


def one_sense_probability(num_examples: int) -> float:
    """Return how likely the next example has the one sense that all of them had: (n + 1) / (n + 2).

    Laplace's rule of succession. Nothing can be compared, and 1 would claim that there is no other sense.
    """
    return (num_examples + 1) / (num_examples + 2)


@dataclass(frozen=True, eq=False)
class SenseHead:
    """For each word softmax(weight x + bias) over its own rows; with "centroid" x has length 1.

    x is the served vector plus gamma * global_context * the mean of its text's token vectors; see
    `predict_senses`.
    weight_RD holds, for "centroid", each sense's mean vector, of length 1 / temperature, and bias_R is 0.
    """

    method: SenseMethod
    words: tuple[SenseWord, ...]
    weight_RD: Floats
    bias_R: Floats
    global_context: float = 0.0

    @property
    def dimension(self) -> int:
        return int(self.weight_RD.shape[1])

    @cached_property
    def _row_of_word(self) -> dict[str, tuple[SenseWord, int]]:
        """Each word and its first row."""
        rows: dict[str, tuple[SenseWord, int]] = {}
        start = 0
        for word in self.words:
            rows[word.word] = (word, start)
            start += len(word.labels)
        return rows

    def predict(self, x_ND: Floats, words: Sequence[str]) -> list[SensePrediction]:
        """Raises ValueError when D is another, or the number of words is not N."""
        check_vectors(x_ND, self.dimension)
        if len(words) != len(x_ND):
            raise ValueError(f"words: expected {len(x_ND)}, one for each vector, got {len(words)}")
        vectors_ND = x_ND.astype(np.float64)
        if self.method == "centroid":
            vectors_ND = unit_rows(vectors_ND)
        return [self._predict_one(x_D, word) for x_D, word in zip(vectors_ND, words, strict=True)]

    def _predict_one(self, x_D: Doubles, word: str) -> SensePrediction:
        if word not in self._row_of_word:
            return SensePrediction(False, (), np.empty(0))
        entry, start = self._row_of_word[word]
        if len(entry.labels) == 1:
            return SensePrediction(True, entry.labels, np.array([one_sense_probability(entry.counts[0])]))
        rows = slice(start, start + len(entry.labels))
        scores_S = self.weight_RD[rows].astype(np.float64) @ x_D + self.bias_R[rows]
        return SensePrediction(True, entry.labels, softmax_rows(scores_S[None])[0])

    def to_document(self) -> dict[str, Any]:
        words = [{"word": w.word, "labels": list(w.labels), "counts": list(w.counts)} for w in self.words]
        arrays = {"weight": array_document(self.weight_RD), "bias": array_document(self.bias_R)}
        document = {"method": self.method, "words": words, **arrays}
        # Only where there is one: older servers, which know of none, read the others.
        return document | ({"global_context": self.global_context} if self.global_context else {})

    @classmethod
    def from_document(cls, fields: Fields, num_labels: int) -> SenseHead:
        fields.only("method", "global_context", "words", "weight", "bias")
        method = SENSE_METHODS[SENSE_METHODS.index(fields.one_of("method", SENSE_METHODS))]
        words: list[SenseWord] = []
        seen: set[str] = set()
        for index, value in enumerate(fields.items("words")):
            entry = _sense_word(Fields(value, f"{fields.path('words')}[{index}]"), num_labels)
            if entry.word in seen:
                name = f"{fields.path('words')}[{index}].word"
                raise ValueError(f"{name}: expected different words, got {entry.word!r} twice")
            seen.add(entry.word)
            words.append(entry)
        if not words:
            raise ValueError(f"{fields.path('words')}: expected one word or more, got none")
        num_rows = sum(len(word.labels) for word in words)
        weight_RD = fields.array("weight", num_rows, "D")
        bias_R = fields.array("bias", num_rows)
        return cls(method, tuple(words), weight_RD, bias_R, fields.coefficient("global_context"))


def _sense_word(fields: Fields, num_labels: int) -> SenseWord:
    fields.only("word", "labels", "counts")
    labels, counts = fields.counts("labels"), fields.counts("counts")
    if not labels or len(set(labels)) < len(labels) or max(labels) >= num_labels:
        last = num_labels - 1
        raise ValueError(
            f"{fields.path('labels')}: expected different numbers from 0 to {last}, got {labels}"
        )
    if len(counts) != len(labels):
        raise ValueError(f"{fields.path('counts')}: expected {len(labels)}, one a label, got {len(counts)}")
    return SenseWord(fields.text("word"), labels, counts)


def unit_rows(vectors_ND: Doubles) -> Doubles:
    """Bring rows to length 1; rows of 0 stay 0."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    result: Doubles = vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)
    return result


def check_vectors(mixed_ND: Floats, dimension: int) -> None:
    """Raise ValueError unless there is one vector of this dimension a row."""
    if mixed_ND.ndim != 2 or mixed_ND.shape[1] != dimension:
        raise ValueError(f"vectors: expected (N, {dimension}), got {mixed_ND.shape}")

"""The words of a `sense` task and the senses that each of them has.

Shape letters: N examples, R senses of all words, word by word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Inventory:
    """labels: all sense labels, sorted. words: sorted; each has rows starts_W[w] to starts_W[w + 1] of R.

    label_R: each row's label; of every example word_N, row_N, and sense_N, its row counted within its word.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    starts_W: Integers
    label_R: Integers
    word_N: Integers
    row_N: Integers
    sense_N: Integers

    @classmethod
    def of(cls, words: Sequence[str], labels: Sequence[str]) -> Inventory:
        names = tuple(sorted(set(labels)))
        label_of = {name: index for index, name in enumerate(names)}
        entries = sorted(set(zip(words, labels, strict=True)))
        row_of = {entry: row for row, entry in enumerate(entries)}
        row_N = np.array([row_of[entry] for entry in zip(words, labels, strict=True)], dtype=np.int64)
        distinct = sorted({word for word, _ in entries})
        index_of = {word: index for index, word in enumerate(distinct)}
        word_R = np.array([index_of[word] for word, _ in entries], dtype=np.int64)
        starts_W = np.searchsorted(word_R, np.arange(len(distinct) + 1))
        return cls(
            names,
            tuple(distinct),
            starts_W,
            np.array([label_of[label] for _, label in entries], dtype=np.int64),
            word_R[row_N],
            row_N,
            row_N - starts_W[word_R[row_N]],
        )

    def find(self, words: Sequence[str], labels: Sequence[str]) -> tuple[Integers, Integers]:
        """Return each example's word, and which of R it is; -1 where there is none."""
        index_of = {word: index for index, word in enumerate(self.words)}
        row_of = {
            (word, self.labels[label]): self.starts_W[index] + sense
            for index, word in enumerate(self.words)
            for sense, label in enumerate(self.label_R[self.rows_of(index)])
        }
        return (
            np.array([index_of.get(word, -1) for word in words], dtype=np.int64),
            np.array([row_of.get(pair, -1) for pair in zip(words, labels, strict=True)], dtype=np.int64),
        )

    def num_senses(self, word: int) -> int:
        return int(self.starts_W[word + 1] - self.starts_W[word])

    def rows_of(self, word: int) -> slice:
        return slice(int(self.starts_W[word]), int(self.starts_W[word + 1]))

    def counts(self, examples: Integers) -> Integers:
        """Return how many of these examples each sense of each word has, (R)."""
        counts: Integers = np.bincount(self.row_N[examples], minlength=len(self.label_R))
        return counts

    def by_word(self, values_R: Integers, words_N: Integers) -> npt.NDArray[np.float64]:
        """Return each word's own values, float64 (N, the largest number of senses), 0 beyond."""
        sizes_W = np.diff(self.starts_W)
        table_WK = np.zeros((len(self.words), max(2, int(sizes_W.max()))))
        word_R = np.repeat(np.arange(len(sizes_W)), sizes_W)
        table_WK[word_R, np.arange(len(values_R)) - self.starts_W[word_R]] = values_R
        return table_WK[words_N]

    def rows_by_word(self, examples: Integers) -> Iterator[tuple[int, Integers]]:
        """Yield each word that these examples have, with its examples, ascending."""
        order = examples[np.argsort(self.word_N[examples], kind="stable")]
        words, firsts = np.unique(self.word_N[order], return_index=True)
        for word, own in zip(words, np.split(order, firsts[1:]), strict=True):
            yield int(word), own

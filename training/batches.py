"""Windows of token ids from continuous streams, one stream of B rows for each direction.

Every epoch puts the documents into a new order and lays them end to end; each of the B rows owns an equal
stretch of that text. The forward stream reads its rows from left to right, the backward stream from right
to left, T tokens a window; the recurrent state is carried from window to window, the gradient is not
(truncated back-propagation through time). With a probability, a row skips to the next boundary and starts
from a zero state there, because that is how every sentence starts at inference.

Shape letters: B rows, T tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training.corpus import PackedCorpus

Direction = Literal["forward", "backward"]

MAX_SKIP = 1024
"""Tokens looked through for the next boundary; in a longer line the row goes on where it was."""


@dataclass(frozen=True)
class Window:
    """What one direction reads in one step, in its own reading order."""

    inputs_TB: npt.NDArray[np.int64]  # token ids, unknown surfaces above the vocabulary
    targets_TB: npt.NDArray[np.int64]  # the id each position predicts, in the vocabulary
    starts_B: npt.NDArray[np.bool_]  # rows that begin anew: their state is zero


class Epoch:
    """The documents of a corpus in one epoch's order, addressed as one text."""

    def __init__(self, corpus: PackedCorpus, seed: Sequence[int]) -> None:
        self._token_ids = corpus.token_ids
        order = np.random.default_rng(seed).permutation(len(corpus.document_starts))
        self._sources = corpus.document_starts[order]
        self._ends = np.cumsum(corpus.document_lengths[order])

    def read(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the ids at [start, stop)."""
        ids = np.empty(stop - start, dtype=np.int64)
        document = int(np.searchsorted(self._ends, start, side="right"))
        filled = 0
        while filled < len(ids):
            left = int(self._ends[document]) - (start + filled)
            taken = min(left, len(ids) - filled)
            source = int(self._sources[document]) + self._length(document) - left
            ids[filled : filled + taken] = self._token_ids[source : source + taken]
            filled += taken
            document += 1
        return ids

    def _length(self, document: int) -> int:
        return int(self._ends[document] - (self._ends[document - 1] if document else 0))


class TokenStream:
    """One direction's rows. Where it stands is `positions`; all else follows from the seed."""

    def __init__(
        self,
        corpus: PackedCorpus,
        direction: Direction,
        *,
        batch_size: int,
        bptt_length: int,
        reset_probability: float,
        seed: int,
        tokens_before: int = 0,
        rows: range | None = None,
    ) -> None:
        """rows: those of the batch that this process reads (default: all). tokens_before: seen by the weights
        before this run. Its order is then another: the same text may have been read, but not to its end.

        Raises ValueError when the corpus is shorter than one batch.
        """
        if len(corpus) // batch_size < bptt_length + 1:
            raise ValueError(
                f"the corpus has {len(corpus)} tokens, fewer than one batch: "
                f"batch_size x (bptt_length + 1) = {batch_size * (bptt_length + 1)}"
            )
        self._corpus = corpus
        self._is_forward = direction == "forward"
        self._batch_size, self._bptt_length = batch_size, bptt_length
        self._reset_probability, self._seed = reset_probability, seed
        self.rows = rows if rows is not None else range(batch_size)
        self.positions = np.zeros((len(self.rows), 2), dtype=np.int64)
        """For each row its epoch and how many tokens of its stretch are behind it."""
        before = (tokens_before,) if tokens_before else ()
        self._epoch = lru_cache(maxsize=2)(lambda epoch: Epoch(corpus, (seed, epoch, *before)))

    def window(self, step: int) -> Window:
        """Return the window of a step, and go on. Steps must be asked for in order."""
        draws = np.random.default_rng((self._seed, self._is_forward, step)).random(self._batch_size)
        wants_start_B = draws < self._reset_probability
        read = [self._read_row(i, bool(wants_start_B[row])) for i, row in enumerate(self.rows)]
        ids_TB = np.stack([ids for ids, _ in read], axis=1)
        targets_TB = np.where(ids_TB[1:] < self._corpus.vocabulary_size, ids_TB[1:], UNKNOWN_ID)
        return Window(ids_TB[:-1], targets_TB, np.array([starts for _, starts in read]))

    def _read_row(self, i: int, wants_start: bool) -> tuple[npt.NDArray[np.int64], bool]:
        """Return T + 1 ids in reading order, and whether the row begins anew."""
        if self._left(i) < self._bptt_length + 1:
            self.positions[i] = self.positions[i, 0] + 1, 0
        starts = not self.positions[i, 1]
        if wants_start or starts:
            ahead = self._read(i, min(MAX_SKIP, self._left(i) - self._bptt_length))
            boundaries = np.flatnonzero(ahead == BOUNDARY_ID)
            if len(boundaries):
                self.positions[i, 1] += boundaries[0]
                starts = True
        ids = self._read(i, self._bptt_length + 1)
        self.positions[i, 1] += self._bptt_length
        return ids, starts

    def _stretch(self, i: int) -> tuple[int, int]:
        row, total = self.rows[i], len(self._corpus)
        return row * total // self._batch_size, (row + 1) * total // self._batch_size

    def _left(self, i: int) -> int:
        low, high = self._stretch(i)
        return int(high - low - self.positions[i, 1])

    def _read(self, i: int, count: int) -> npt.NDArray[np.int64]:
        low, high = self._stretch(i)
        epoch, done = (int(value) for value in self.positions[i])
        if self._is_forward:
            return self._epoch(epoch).read(low + done, low + done + count)
        return self._epoch(epoch).read(high - done - count, high - done)[::-1]

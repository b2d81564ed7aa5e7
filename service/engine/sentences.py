"""One input on its way through the engine: its tokens, how far they have been read, and what that has given.

A sentence has n positions: its T tokens and a boundary at each end. It is read in slices of at most M
positions that carry the network's state from one to the next, so that a long document holds the engine for
one slice at a time; an ordinary sentence is a document of one slice. The forward direction reads from the
left and the backward one from the right: slice k is [kM, (k+1)M) of the one and [n-(k+1)M, n-kM) of the
other, which are equally long.

What a document holds between two slices is its state (16 kB with 2 x LSTM(512)) and its result so far: for
vectors n x 2H float32, L times that for all layers (20,000 tokens of 1,024 dimensions: 82 and 246 MB); for
scores 8 bytes a token.

Shape letters: T tokens, n positions, t positions of a slice, H hidden, L layers, S parts of a layer's state,
R recurrent layers, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from model.tokenizer import BOUNDARY_ID, Tokenized
from service.engine.backend import Floats, Integers
from service.engine.predictions import Prediction
from service.mixes import Mix

Result = TypeVar("Result")

NUM_BOUNDARIES = 2


def _top(num_layers: int) -> Mix:
    """The mix that is the top layer itself, to the last bit."""
    return Mix(tuple(float(i == num_layers - 1) for i in range(num_layers)))


class Sentence(ABC, Generic[Result]):
    """A sentence of any kind. The engine reads it; what it has read is changed by `take` and `advance` alone.

    `take` may be called again for the same slice, after a run that failed; `advance` ends the slice.
    """

    def __init__(self, surfaces: Sequence[str], mix: Mix | None, slice_tokens: int) -> None:
        """mix: of the layers that `take` gets, None for every layer; slice_tokens: M, at least 1."""
        self.surfaces = surfaces
        self.mix = mix
        self.num_positions = len(surfaces) + NUM_BOUNDARIES
        self.num_read = 0  # positions, by each direction
        self.state: Floats | None = (
            None  # of the network after them; None before the first slice and after the last
        )
        self._slice_tokens = slice_tokens

    @property
    def num_tokens(self) -> int:
        """Positions that are still to be read."""
        return self.num_positions - self.num_read

    @property
    def next_tokens(self) -> int:
        """t, the positions of the next slice."""
        return min(self._slice_tokens, self.num_tokens)

    @property
    def is_whole(self) -> bool:
        """Whether the next slice is the whole sentence."""
        return self.next_tokens == self.num_positions

    @property
    def forward(self) -> slice:
        """The positions that the forward direction reads next."""
        return slice(self.num_read, self.num_read + self.next_tokens)

    @property
    def backward(self) -> slice:
        """The positions that the backward direction reads next."""
        return slice(self.num_tokens - self.next_tokens, self.num_tokens)

    def advance(self, state: Floats) -> None:
        """The next slice has been read, and left the network in this state (S, R, 2, H)."""
        self.num_read += self.next_tokens
        self.state = state.copy() if self.num_tokens else None  # a view would keep all of its batch alive

    @abstractmethod
    def take(self, vectors: Floats) -> Sequence[Prediction]:
        """Take in the next slice's vectors, and return the log-probabilities that are wanted of it.

        vectors: (t, 2H), or (L, t, 2H) without a mix; the first half of each is of `forward`, the second of
        `backward`.
        """

    @property
    @abstractmethod
    def result(self) -> Result:
        """What the sentence has given, once nothing is left to read."""


class Embedding(Sentence[Floats]):
    """Gives float32 (T, 2H), or (L, T, 2H) without a mix."""

    _vectors: Floats  # (..., n, 2H), from the first slice on

    def take(self, vectors: Floats) -> Sequence[Prediction]:
        if self.is_whole:
            # A view would keep the vectors of its whole batch, which stand in memory that the runtime uses
            # again only when all of them are gone.
            self._vectors = vectors.copy()
            return ()
        dimension = vectors.shape[-1]
        if self.num_read == 0:
            shape = (*vectors.shape[:-2], self.num_positions, dimension)
            self._vectors = np.empty(shape, dtype=np.float32)
        self._vectors[..., self.forward, : dimension // 2] = vectors[..., : dimension // 2]
        self._vectors[..., self.backward, dimension // 2 :] = vectors[..., dimension // 2 :]
        return ()

    @property
    def result(self) -> Floats:
        return self._vectors[..., 1:-1, :]


@dataclass(frozen=True, slots=True)
class Scores:
    """Natural log-probabilities of a sentence's T tokens and of one boundary, float32 (T + 1) each.

    forward[t] is of token t after those before it, forward[T] of the boundary that closes the sentence;
    backward[0] is of the boundary that opens it, backward[t + 1] of token t before those after it.
    """

    forward: Floats
    backward: Floats


class Scoring(Sentence[Scores]):
    """Gives the log-probability of every token, by each direction."""

    def __init__(self, tokens: Tokenized, num_layers: int, slice_tokens: int) -> None:
        super().__init__(tokens.surfaces, _top(num_layers), slice_tokens)
        self._ids: Integers = np.array([BOUNDARY_ID, *tokens.ids, BOUNDARY_ID], dtype=np.int32)
        shape = self.num_positions - 1
        self._scores = Scores(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))

    def take(self, vectors: Floats) -> Sequence[Prediction]:
        forward_tH, backward_tH = np.split(vectors, 2, axis=-1)
        # The forward half at position i predicts what stands at i + 1; after the last one nothing follows.
        start, end = self.forward.start, min(self.forward.stop, self.num_positions - 1)
        next_ids = self._ids[start + 1 : end + 1]
        following = Prediction(forward_tH[: end - start], next_ids, self._scores.forward[start:end])
        # The backward half at position i predicts what stands at i - 1; nothing comes before the first one.
        start, end = max(self.backward.start, 1), self.backward.stop
        previous_ids = self._ids[start - 1 : end - 1]
        skipped = start - self.backward.start
        preceding = Prediction(
            backward_tH[skipped:], previous_ids, self._scores.backward[start - 1 : end - 1]
        )
        return following, preceding

    @property
    def result(self) -> Scores:
        return self._scores


@dataclass(frozen=True, slots=True)
class Distributions:
    """Natural log-probabilities of all that may stand at a blank, float32 (V) each: by the forward direction,
    which has read what is before it, and by the backward one, which has read what is after it."""

    forward: Floats
    backward: Floats


class Blank(Sentence[Distributions]):
    """Gives the log-probabilities of the vocabulary at a blank, which itself is no position."""

    def __init__(
        self,
        before: Tokenized,
        after: Tokenized,
        num_layers: int,
        vocabulary_size: int,
        slice_tokens: int,
    ) -> None:
        super().__init__([*before.surfaces, *after.surfaces], _top(num_layers), slice_tokens)
        self._last_before = len(before)  # its position: the opening boundary is 0
        self._distributions = Distributions(
            np.empty(vocabulary_size, dtype=np.float32), np.empty(vocabulary_size, dtype=np.float32)
        )

    def take(self, vectors: Floats) -> Sequence[Prediction]:
        forward_tH, backward_tH = np.split(vectors, 2, axis=-1)
        wanted = (
            (self._last_before - self.forward.start, forward_tH, self._distributions.forward),
            (self._last_before + 1 - self.backward.start, backward_tH, self._distributions.backward),
        )
        return [
            Prediction(hidden_tH[i : i + 1], None, out_V[None])
            for i, hidden_tH, out_V in wanted
            if 0 <= i < len(hidden_tH)
        ]

    @property
    def result(self) -> Distributions:
        return self._distributions

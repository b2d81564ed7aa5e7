"""One batch of sentences through the model: token vectors, contextual layers, each sentence's own mix.

The service runs one batch at a time, on the batcher's thread; other callers may run several at once. A
sentence's vectors do not depend on the others in its batch: padding is masked by `lengths`, and each row
carries its own mix and its own state into the graph. A batch runs in groups of like length, the shortest
first, and each group's sentences are answered as soon as it has run.

Shape letters: B sentences of a group, T positions of a slice (boundaries included), L layers, D token-vector
dim, H hidden, N distinct tokens, S parts of a layer's state, R recurrent layers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model.grouping import groups_by_length
from service.engine.backend import Backend, Floats
from service.engine.observer import EngineObserver
from service.engine.outcomes import UNFINISHED, Outcome
from service.engine.predictions import predict
from service.engine.sentences import Sentence
from service.engine.token_cache import TokenCache

_PADDING, _BEGIN, _END, _FIRST_TOKEN = 0, 1, 2, 3  # rows of a batch's table of vectors


class BadVectors(Exception):
    """The model gave a value that is no finite number."""


class Engine:
    """Callable: runs the next slice of every sentence of a batch. From several threads, if each has sentences
    of its own and the observer allows it."""

    def __init__(self, backend: Backend, cache_tokens: int, observer: EngineObserver) -> None:
        self._alphabet = backend.alphabet
        self._words = backend.words
        self._runtime = backend.runtime
        self._observer = observer
        word_ids = self._words.boundary_ids() if self._words is not None else None
        boundaries_2D = self._runtime.token_vectors(self._alphabet.boundary_rows(), word_ids)
        padding_1D = np.zeros_like(boundaries_2D[:1])
        self._fixed_rows = np.concatenate([padding_1D, boundaries_2D])  # _PADDING, _BEGIN, _END
        self._cache = TokenCache(cache_tokens, boundaries_2D.shape[1], observer)

    def __call__(self, batch: Sequence[Sentence[Any]]) -> Iterator[tuple[int, Outcome[Any]]]:
        """Yield every sentence's index and outcome: its result, UNFINISHED, or an exception of its own.

        Raises whatever the model raises; a sentence that was not yielded before is then as it was.
        """
        rows = _TableRows()
        forward = [rows.of(sentence, sentence.forward) for sentence in batch]
        backward = [
            forward[i] if sentence.is_whole else rows.of(sentence, sentence.backward)
            for i, sentence in enumerate(batch)
        ]
        tokens_ND = self._cache.lookup(rows.surfaces, self._token_vectors)
        table = np.concatenate([self._fixed_rows, tokens_ND])
        for group in _groups(batch):
            sentences = [batch[i] for i in group]
            forward_TBD = table[_columns([forward[i] for i in group])]
            if all(sentence.is_whole for sentence in sentences):
                backward_TBD = forward_TBD
            else:
                backward_TBD = table[_columns([backward[i] for i in group])]
            yield from zip(group, self._run(sentences, forward_TBD, backward_TBD), strict=True)

    def _run(
        self, group: Sequence[Sentence[Any]], forward_TBD: Floats, backward_TBD: Floats
    ) -> list[Outcome[Any]]:
        """Run one group: either all sentences have a mix, or none has."""
        started_s = time.monotonic()
        lengths_B = np.array([sentence.next_tokens for sentence in group], dtype=np.int32)
        state = self._runtime.first_state(len(group))
        for b, sentence in enumerate(group):
            if sentence.state is not None:
                state[..., b, :] = sentence.state
        mixes = [sentence.mix for sentence in group if sentence.mix is not None]
        if mixes:
            layer_weights_BL = np.array([mix.weights for mix in mixes], dtype=np.float32)
            gamma_B = np.array([mix.gamma for mix in mixes], dtype=np.float32)
            vectors, state = self._runtime.mix_slices(
                forward_TBD, backward_TBD, lengths_B, state, layer_weights_BL, gamma_B
            )
        else:
            vectors, state = self._runtime.layer_slices(forward_TBD, backward_TBD, lengths_B, state)
        outcomes = self._take(group, vectors, state)
        num_padded = forward_TBD.shape[0] * len(group)
        self._observer.batch(len(group), int(lengths_B.sum()), num_padded, time.monotonic() - started_s)
        return outcomes

    def _take(self, group: Sequence[Sentence[Any]], vectors: Floats, state: Floats) -> list[Outcome[Any]]:
        """Give every sentence its vectors (..., T, B, 2H) and state, once all of them have what they need."""
        own = [vectors[..., : sentence.next_tokens, b, :] for b, sentence in enumerate(group)]
        predictions = [sentence.take(own[b]) for b, sentence in enumerate(group)]
        predict(self._runtime, [prediction for of_one in predictions for prediction in of_one])
        outcomes: list[Outcome[Any]] = []
        # One look at all of them: each call gives the interpreter's lock away, and must get it back.
        all_finite = np.isfinite(vectors).all()
        for b, sentence in enumerate(group):
            if not (
                (all_finite or np.isfinite(own[b]).all())
                and all(np.isfinite(prediction.out).all() for prediction in predictions[b])
            ):
                outcomes.append(BadVectors())
                continue
            sentence.advance(state[..., b, :])
            outcomes.append(UNFINISHED if sentence.num_tokens else sentence.result)
        return outcomes

    def _token_vectors(self, surfaces: Sequence[str]) -> Floats:
        word_ids_N = self._words.encode(surfaces) if self._words is not None else None
        vectors_ND = self._runtime.token_vectors(self._alphabet.encode(surfaces), word_ids_N)
        if not np.isfinite(vectors_ND).all():
            raise BadVectors  # before they could be kept
        return vectors_ND


class _TableRows:
    """Where each token of a batch stands in its table of vectors; every distinct token has one row."""

    def __init__(self) -> None:
        self._row_of: dict[str, int] = {}

    @property
    def surfaces(self) -> list[str]:
        """The distinct tokens, in the order of their rows, which begin at _FIRST_TOKEN."""
        return list(self._row_of)

    def of(self, sentence: Sentence[Any], positions: slice) -> list[int]:
        """Return the row of each position."""
        row_of = self._row_of
        # The token at position i is the sentence's token i - 1.
        tokens = sentence.surfaces[max(positions.start - 1, 0) : positions.stop - 1]
        rows = [row_of.setdefault(surface, _FIRST_TOKEN + len(row_of)) for surface in tokens]
        if positions.start == 0:
            rows.insert(0, _BEGIN)
        if positions.stop == sentence.num_positions:
            rows.append(_END)
        return rows


def _columns(rows: Sequence[Sequence[int]]) -> npt.NDArray[np.intp]:
    """Return (T, B): each row of the group as a column, filled up with padding."""
    rows_TB = np.full((max(map(len, rows)), len(rows)), _PADDING, dtype=np.intp)
    for b, column in enumerate(rows):
        rows_TB[: len(column), b] = column
    return rows_TB


def _groups(batch: Sequence[Sentence[Any]]) -> Iterator[list[int]]:
    """Yield the sentences of each run, by their indices: with a mix or without, and of like length."""
    for has_mix in (True, False):
        indices = [i for i, sentence in enumerate(batch) if (sentence.mix is not None) == has_mix]
        lengths_B = np.array([batch[i].next_tokens for i in indices], dtype=np.int32)
        for rows in groups_by_length(lengths_B):
            yield [indices[row] for row in rows]

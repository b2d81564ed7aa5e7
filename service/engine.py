"""One batch of sentences through the model: token vectors, contextual layers, each sentence's own mix.

Everything here runs on the batcher's thread, one batch at a time. A sentence's vectors do not depend on the
others in its batch: padding is masked by `lengths`, and each row carries its own mix into the graph.

Shape letters: B sentences, T positions (boundaries included), L layers, D token-vector dim, H hidden,
N distinct tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.backend import Backend, Floats, Integers
from service.mixes import Mix
from service.token_cache import TokenCache

NUM_BOUNDARIES = 2

_PADDING, _BOUNDARY, _FIRST_TOKEN = 0, 1, 2  # rows of a batch's table of vectors


@dataclass(frozen=True, slots=True)
class Sentence:
    """What the engine needs of one input."""

    surfaces: Sequence[str]
    mix: Mix | None  # None asks for every layer

    @property
    def num_tokens(self) -> int:
        """Positions in the network: the tokens, white space included, and the boundaries at both ends."""
        return len(self.surfaces) + NUM_BOUNDARIES


class BadVectors(Exception):
    """The model gave a value that is no finite number."""


class Engine:
    """Callable: a batch in, and for each sentence float32 (T - 2, 2H), or (L, T - 2, 2H) without a mix."""

    def __init__(self, backend: Backend, cache_tokens: int) -> None:
        self._alphabet = backend.alphabet
        self._runtime = backend.runtime
        boundary_1D = self._runtime.token_vectors(self._alphabet.boundary_row()[None])
        self._fixed_rows = np.concatenate([np.zeros_like(boundary_1D), boundary_1D])  # _PADDING, _BOUNDARY
        self._cache = TokenCache(cache_tokens, boundary_1D.shape[1])

    def __call__(self, batch: Sequence[Sentence]) -> list[Floats | Exception]:
        """Return results in the order of the batch; where vectors are not finite, an exception.

        Raises whatever the model raises; nothing is then known about any sentence.
        """
        mixed = [i for i, sentence in enumerate(batch) if sentence.mix is not None]
        whole = [i for i, sentence in enumerate(batch) if sentence.mix is None]
        results: dict[int, Floats] = {}
        if mixed:
            results.update(zip(mixed, self._run_mixed([batch[i] for i in mixed]), strict=True))
        if whole:
            results.update(zip(whole, self._run_layers([batch[i] for i in whole]), strict=True))
        return [results[i] if np.isfinite(results[i]).all() else BadVectors() for i in range(len(batch))]

    def _run_mixed(self, batch: Sequence[Sentence]) -> list[Floats]:
        x_TBD, lengths_B = self._inputs(batch)
        mixes = [sentence.mix for sentence in batch if sentence.mix is not None]
        layer_weights_BL = np.array([mix.weights for mix in mixes], dtype=np.float32)
        gamma_B = np.array([mix.gamma for mix in mixes], dtype=np.float32)
        mixed_TBH = self._runtime.mixed(x_TBD, lengths_B, layer_weights_BL, gamma_B)
        return [mixed_TBH[1 : length - 1, i] for i, length in enumerate(lengths_B)]

    def _run_layers(self, batch: Sequence[Sentence]) -> list[Floats]:
        x_TBD, lengths_B = self._inputs(batch)
        layers_LTBH = self._runtime.layers(x_TBD, lengths_B)
        return [layers_LTBH[:, 1 : length - 1, i] for i, length in enumerate(lengths_B)]

    def _inputs(self, batch: Sequence[Sentence]) -> tuple[Floats, Integers]:
        """Return the token vectors x_TBD, zero where a sentence has ended, and lengths_B."""
        lengths_B = np.array([sentence.num_tokens for sentence in batch], dtype=np.int32)
        rows_TB = np.full((lengths_B.max(), len(batch)), _PADDING, dtype=np.intp)
        row_of: dict[str, int] = {}
        for i, sentence in enumerate(batch):
            last = sentence.num_tokens - 1
            rows_TB[[0, last], i] = _BOUNDARY
            rows_TB[1:last, i] = [
                row_of.setdefault(surface, _FIRST_TOKEN + len(row_of)) for surface in sentence.surfaces
            ]
        tokens_ND = self._cache.lookup(list(row_of), self._token_vectors)
        return np.concatenate([self._fixed_rows, tokens_ND])[rows_TB], lengths_B

    def _token_vectors(self, surfaces: Sequence[str]) -> Floats:
        vectors_ND = self._runtime.token_vectors(self._alphabet.encode(surfaces))
        if not np.isfinite(vectors_ND).all():
            raise BadVectors  # before they could be kept
        return vectors_ND

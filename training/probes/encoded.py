"""Sentences -> layers through a tokenizer, an alphabet and a network: batched, each distinct token once.

The network is a bundle's runtime, or a torch network behind the same two methods.
Shapes: T tokens, B sentences of a batch, C characters, D token-vector dim, N tokens in a row, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.characters import Alphabet
from model.tokenizer import SentencePieceTokenizer, Tokenized
from training.probes.source import FloatArray, SentenceLayers

# Padded tokens of one session run: LSTM matrices are large enough to be efficient, and the three layers of a
# batch at 2H = 1024 stay near 50 MB.
TOKEN_BUDGET = 4096
# Input is cut into windows of this many budgets; each is sorted by length, and its layers are held until they
# have left in input order.
BUDGETS_PER_WINDOW = 2
# Tokens of one character-CNN run.
ENCODE_CHUNK = 512


class Network(Protocol):
    """What is needed of a network; `model.runtime.Runtime` is one."""

    def token_vectors(self, char_ids_NC: NDArray[np.int32], /) -> FloatArray:
        """float32 (N, D)."""
        ...

    def layers(self, x_TBD: FloatArray, lengths_B: NDArray[np.int32], /) -> FloatArray:
        """float32 (L, T, B, 2H)."""
        ...


class EncodedSource:
    """A `LayerSource` over whatever has token vectors and layers.

    With num_workers > 1 so many batches are in the network at once, which must then bear it: on cores shared
    with other processes, two batches of a thread each lose less than one whose threads wait for each other.
    """

    def __init__(
        self,
        tokenizer: SentencePieceTokenizer,
        alphabet: Alphabet,
        network: Network,
        num_vector_layers: int,
        num_workers: int = 1,
    ) -> None:
        self._tokenizer = tokenizer
        self._alphabet = alphabet
        self._network = network
        self._num_vector_layers = num_vector_layers
        self._num_workers = num_workers
        self._boundary_D: FloatArray = network.token_vectors(alphabet.boundary_row()[None])[0]
        # A token's vector depends on its surface alone, so each distinct one is computed once.
        self._row_of: dict[str, int] = {}
        self._table_ND: FloatArray = np.empty((ENCODE_CHUNK, self._boundary_D.shape[0]), dtype=np.float32)

    @property
    def num_vector_layers(self) -> int:
        return self._num_vector_layers

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        window: list[Tokenized] = []
        num_tokens = 0
        for sentence in sentences:
            tokenized = self._tokenizer.tokenize(sentence)
            window.append(tokenized)
            num_tokens += len(tokenized.surfaces) + 2
            if num_tokens >= BUDGETS_PER_WINDOW * TOKEN_BUDGET:
                yield from self._encode(window)
                window, num_tokens = [], 0
        yield from self._encode(window)

    def _encode(self, window: list[Tokenized]) -> list[SentenceLayers]:
        self._add_to_table({surface for tokenized in window for surface in tokenized.surfaces})
        lengths = [len(tokenized.surfaces) + 2 for tokenized in window]
        batches = list(length_sorted_batches(lengths, TOKEN_BUDGET))
        encoded: dict[int, SentenceLayers] = {}
        with ThreadPoolExecutor(self._num_workers) as executor:
            results = executor.map(self._run, [[window[i] for i in batch] for batch in batches])
            for batch, layers in zip(batches, results, strict=True):
                encoded.update(zip(batch, layers, strict=True))
        return [encoded[i] for i in range(len(window))]

    def _run(self, batch: list[Tokenized]) -> list[SentenceLayers]:
        lengths_B = np.array([len(tokenized.surfaces) + 2 for tokenized in batch], dtype=np.int32)
        x_TBD = np.zeros((int(lengths_B.max()), len(batch), self._boundary_D.shape[0]), dtype=np.float32)
        for b, tokenized in enumerate(batch):
            end = len(tokenized.surfaces) + 1
            x_TBD[0, b] = x_TBD[end, b] = self._boundary_D
            x_TBD[1:end, b] = self._table_ND[[self._row_of[surface] for surface in tokenized.surfaces]]
        layers_LTBD = self._network.layers(x_TBD, lengths_B)
        encoded = []
        for b, tokenized in enumerate(batch):
            visible = np.flatnonzero(tokenized.visible)
            starts, ends = np.array([tokenized.starts, tokenized.ends], dtype=np.int64)[:, visible]
            # +1: the boundary is the first row. Indexing by an array copies, so the batch itself is let go.
            encoded.append(SentenceLayers(starts, ends, layers_LTBD[:, visible + 1, b]))
        return encoded

    def _add_to_table(self, surfaces: set[str]) -> None:
        # Sorted by length (then by text: the same chunks in every run), so that a long token pads few others.
        new = sorted(surfaces - self._row_of.keys(), key=lambda surface: (len(surface), surface))
        for at in range(0, len(new), ENCODE_CHUNK):
            chunk = new[at : at + ENCODE_CHUNK]
            first = len(self._row_of)
            while first + len(chunk) > len(self._table_ND):
                self._table_ND = np.concatenate([self._table_ND, np.empty_like(self._table_ND)])
            vectors_ND = self._network.token_vectors(self._alphabet.encode(chunk))
            self._table_ND[first : first + len(chunk)] = vectors_ND
            self._row_of.update((surface, first + i) for i, surface in enumerate(chunk))


def length_sorted_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Yield lists of positions in `lengths`, shortest first.

    Longest x count stays within token_budget, but for a sentence that is longer than that alone.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        # Ascending, so the newest is the longest.
        if batch and lengths[i] * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch

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
from model.piece_ids import PieceIds
from model.tokenizer import BOUNDARY_ID, SentencePieceTokenizer, Tokenized
from training.probes.source import Doubles, FloatArray, IntArray, SentenceLayers

# Padded tokens of one session run: LSTM matrices are large enough to be efficient, and the three layers of a
# batch at 2H = 1024 stay near 50 MB.
TOKEN_BUDGET = 4096
# Input is cut into windows of this many budgets; each is sorted by length, and its layers are held until they
# have left in input order.
BUDGETS_PER_WINDOW = 2
# Tokens of one character-CNN run.
ENCODE_CHUNK = 512
# Predictions of one run: 16 MB with 16,384 pieces.
PREDICTION_CHUNK = 256


class Network(Protocol):
    """What is needed of a network; `model.runtime.Runtime` is one."""

    def token_vectors(
        self, char_ids_NC: NDArray[np.int32], piece_ids_N: NDArray[np.int32] | None, /
    ) -> FloatArray:
        """float32 (N, D). piece_ids_N: None unless pieces have vectors of their own."""
        ...

    def layers(self, x_TBD: FloatArray, lengths_B: NDArray[np.int32], /) -> FloatArray:
        """float32 (L, T, B, 2H)."""
        ...


class LanguageModel(Network, Protocol):
    """A network that predicts tokens too."""

    def log_probabilities(self, hidden_NH: FloatArray, /) -> FloatArray:
        """float32 (N, V): of the next token from a top forward half, of the previous from a backward one."""
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
        *,
        pieces: PieceIds | None = None,
    ) -> None:
        """pieces: those that have vectors of their own, if they do."""
        self._tokenizer = tokenizer
        self._alphabet = alphabet
        self._pieces = pieces
        self._network = network
        self._num_vector_layers = num_vector_layers
        self._num_workers = num_workers
        boundary_ids = pieces.boundary_ids() if pieces is not None else None
        self._boundary_D: FloatArray = network.token_vectors(alphabet.boundary_rows(), boundary_ids)[0]
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
        layers_LTBD = self._layers(batch)
        encoded = []
        for b, tokenized in enumerate(batch):
            visible = np.flatnonzero(tokenized.visible)
            starts, ends = np.array([tokenized.starts, tokenized.ends], dtype=np.int64)[:, visible]
            # +1: the boundary is the first row. Indexing by an array copies, so the batch itself is let go.
            encoded.append(SentenceLayers(starts, ends, layers_LTBD[:, visible + 1, b]))
        return encoded

    def _layers(self, batch: list[Tokenized]) -> FloatArray:
        """float32 (L, T, B, 2H), boundaries included; the batch's tokens are in the table."""
        lengths_B = np.array([len(tokenized.surfaces) + 2 for tokenized in batch], dtype=np.int32)
        x_TBD = np.zeros((int(lengths_B.max()), len(batch), self._boundary_D.shape[0]), dtype=np.float32)
        for b, tokenized in enumerate(batch):
            end = len(tokenized.surfaces) + 1
            x_TBD[0, b] = x_TBD[end, b] = self._boundary_D
            x_TBD[1:end, b] = self._table_ND[[self._row_of[surface] for surface in tokenized.surfaces]]
        return self._network.layers(x_TBD, lengths_B)

    def _add_to_table(self, surfaces: set[str]) -> None:
        # Sorted by length (then by text: the same chunks in every run), so that a long token pads few others.
        new = sorted(surfaces - self._row_of.keys(), key=lambda surface: (len(surface), surface))
        for at in range(0, len(new), ENCODE_CHUNK):
            chunk = new[at : at + ENCODE_CHUNK]
            first = len(self._row_of)
            while first + len(chunk) > len(self._table_ND):
                self._table_ND = np.concatenate([self._table_ND, np.empty_like(self._table_ND)])
            piece_ids_N = self._pieces.encode(chunk) if self._pieces is not None else None
            vectors_ND = self._network.token_vectors(self._alphabet.encode(chunk), piece_ids_N)
            self._table_ND[first : first + len(chunk)] = vectors_ND
            self._row_of.update((surface, first + i) for i, surface in enumerate(chunk))


class EncodedScorer(EncodedSource):
    """A `SentenceScorer` too, over a network that predicts tokens."""

    def __init__(
        self,
        tokenizer: SentencePieceTokenizer,
        alphabet: Alphabet,
        network: LanguageModel,
        num_vector_layers: int,
        num_workers: int = 1,
        *,
        pieces: PieceIds | None = None,
    ) -> None:
        super().__init__(tokenizer, alphabet, network, num_vector_layers, num_workers, pieces=pieces)
        self._language_model = network

    def sentence_scores(self, sentences: Sequence[str]) -> Doubles:
        tokenized = [self._tokenizer.tokenize(sentence) for sentence in sentences]
        self._add_to_table({surface for each in tokenized for surface in each.surfaces})
        batches = list(length_sorted_batches([len(each) + 2 for each in tokenized], TOKEN_BUDGET))
        scores_N = np.empty(len(sentences))
        with ThreadPoolExecutor(self._num_workers) as executor:
            found = executor.map(self._score, [[tokenized[i] for i in batch] for batch in batches])
            for batch, scores_B in zip(batches, found, strict=True):
                scores_N[batch] = scores_B
        return scores_N

    def _score(self, batch: list[Tokenized]) -> Doubles:
        top_TBD = self._layers(batch)[-1]
        hidden_dim = top_TBD.shape[2] // 2
        hidden, ids, owners = [], [], []
        for b, tokenized in enumerate(batch):
            last = len(tokenized) + 1
            ids_T = np.array([BOUNDARY_ID, *tokenized.ids, BOUNDARY_ID], dtype=np.int64)
            # Place t forward predicts token t + 1, place t + 1 backward predicts token t.
            hidden += [top_TBD[:last, b, :hidden_dim], top_TBD[1 : last + 1, b, hidden_dim:]]
            ids += [ids_T[1:], ids_T[:-1]]
            owners.append(np.full(2 * last, b))
        scores_B = np.bincount(
            np.concatenate(owners),
            weights=self._log_probabilities(np.concatenate(hidden), np.concatenate(ids)),
        )
        return scores_B.astype(np.float64)

    def _log_probabilities(self, hidden_NH: FloatArray, ids_N: IntArray) -> Doubles:
        """Of one token at each place."""
        found_N = np.empty(len(ids_N))
        for at in range(0, len(ids_N), PREDICTION_CHUNK):
            rows = slice(at, at + PREDICTION_CHUNK)
            log_NV = self._language_model.log_probabilities(np.ascontiguousarray(hidden_NH[rows]))
            found_N[rows] = np.take_along_axis(log_NV, ids_N[rows, None], axis=1)[:, 0]
        return found_N


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

"""Negative log-likelihood of text, from the files that are served, through ONNX Runtime.

A line is read as a service reads a sentence: from a zero state, with a boundary at each end. Forward, every
token and the closing boundary are predicted; backward, every token and the opening boundary. Exact: the
probability is of the whole vocabulary. A token that is not in the vocabulary counts as "some unknown token".
Shapes: T tokens of the longest line, boundaries included; B lines; D token-vector dim; N predictions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE, Precision
from model.piece_ids import piece_ids_of
from model.runtime import Runtime
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer, Tokenized
from training.perplexity.texts import Line
from training.probes.encoded import length_sorted_batches

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

TOKEN_BUDGET = 2048
ENCODE_CHUNK = 512
# Rows of one run of the softmax: 512 x 16,384 floats are 32 MB.
PREDICTIONS_PER_RUN = 512


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a text, or of a part of it; sums of them are of the parts together.

    forward, backward: nats. num_tokens: predictions of one direction, a boundary for each line among them.
    num_unknown: how many of them are not in the vocabulary.
    """

    forward: float = 0.0
    backward: float = 0.0
    num_tokens: int = 0
    num_words: int = 0
    num_characters: int = 0
    num_unknown: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.forward + other.forward,
            self.backward + other.backward,
            self.num_tokens + other.num_tokens,
            self.num_words + other.num_words,
            self.num_characters + other.num_characters,
            self.num_unknown + other.num_unknown,
        )


class Scorer:
    """One bundle in one precision."""

    def __init__(self, folder: Path, precision: Precision = "float32", num_threads: int = 2) -> None:
        """Raises BundleError for a broken bundle, ValueError for one that is no language model."""
        bundle = Bundle.open(folder)
        self.manifest = bundle.manifest
        architecture = bundle.manifest.architecture
        if not architecture.has_softmax:
            raise ValueError(f"{folder}: expected a language model, found none in this bundle")
        self._tokenizer = SentencePieceTokenizer(folder / TOKENIZER_FILE)
        self._alphabet = Alphabet.load(folder / CHARACTERS_FILE)
        self._runtime = Runtime(bundle, num_threads, precision)
        self._hidden_dim = architecture.hidden_dim
        self._top_1L = np.zeros((1, architecture.num_vector_layers), dtype=np.float32)
        self._top_1L[0, -1] = 1.0
        self._pieces = piece_ids_of(architecture, self._tokenizer)
        boundary_ids = self._pieces.boundary_ids() if self._pieces is not None else None
        vectors_2D = self._runtime.token_vectors(self._alphabet.boundary_rows(), boundary_ids)
        self._vector_of = {BOUNDARY: vectors_2D[0]}

    def score(self, lines: Sequence[Line], bar: tqdm[None]) -> tuple[list[Counts], list[Counts]]:
        """Return each line's counts, and the same without the words that are masked in it.

        `bar` moves by one per line.
        """
        tokenized = [self._tokenizer.tokenize(line.text) for line in lines]
        whole = [Counts()] * len(lines)
        known = [Counts()] * len(lines)
        for batch in length_sorted_batches([len(each) + 2 for each in tokenized], TOKEN_BUDGET):
            nats = self._run([tokenized[i] for i in batch])
            for i, nats_of_line in zip(batch, nats, strict=True):
                whole[i], known[i] = _count(lines[i], tokenized[i], nats_of_line)
                bar.update()
        return whole, known

    def _run(self, batch: Sequence[Tokenized]) -> list[tuple[DoubleArray, DoubleArray]]:
        """Return each line's nats: forward of its tokens and end, backward of its beginning and tokens."""
        self._encode({surface for tokenized in batch for surface in tokenized.surfaces})
        lengths_B = np.array([len(tokenized) + 2 for tokenized in batch], dtype=np.int32)
        x_TBD = np.zeros((int(lengths_B.max()), len(batch), self._hidden_dim), dtype=np.float32)
        for b, tokenized in enumerate(batch):
            surfaces = (BOUNDARY, *tokenized.surfaces, BOUNDARY)
            x_TBD[: len(surfaces), b] = [self._vector_of[surface] for surface in surfaces]
        top_TB2H, _ = self._runtime.mix_slices(
            x_TBD,
            x_TBD,
            lengths_B,
            self._runtime.first_state(len(batch)),
            self._top_1L.repeat(len(batch), axis=0),
            np.ones(len(batch), dtype=np.float32),
        )
        results = []
        for b, tokenized in enumerate(batch):
            ids = np.array([BOUNDARY_ID, *tokenized.ids, BOUNDARY_ID])
            forward_TH, backward_TH = np.split(top_TB2H[: len(ids), b], 2, axis=1)
            results.append((self._nats(forward_TH[:-1], ids[1:]), self._nats(backward_TH[1:], ids[:-1])))
        return results

    def _nats(self, hidden_NH: FloatArray, ids_N: NDArray[np.int64]) -> DoubleArray:
        nats_N = np.empty(len(ids_N))
        for start in range(0, len(ids_N), PREDICTIONS_PER_RUN):
            rows = slice(start, min(start + PREDICTIONS_PER_RUN, len(ids_N)))
            log_probabilities_NV = self._runtime.log_probabilities(np.ascontiguousarray(hidden_NH[rows]))
            nats_N[rows] = -log_probabilities_NV[np.arange(rows.stop - start), ids_N[rows]]
        return nats_N

    def _encode(self, surfaces: set[str]) -> None:
        new = sorted(surfaces - self._vector_of.keys(), key=lambda surface: (len(surface), surface))
        for start in range(0, len(new), ENCODE_CHUNK):
            chunk = new[start : start + ENCODE_CHUNK]
            piece_ids_N = self._pieces.encode(chunk) if self._pieces is not None else None
            vectors_ND = self._runtime.token_vectors(self._alphabet.encode(chunk), piece_ids_N)
            self._vector_of.update(zip(chunk, vectors_ND, strict=True))


BOUNDARY = ""
"""In place of a surface, which is never empty."""


def _count(line: Line, tokenized: Tokenized, nats: tuple[DoubleArray, DoubleArray]) -> tuple[Counts, Counts]:
    """A token belongs to a masked word when it overlaps it."""
    forward_N, backward_N = nats
    is_unknown = np.array([i == UNKNOWN_ID for i in tokenized.ids], dtype=bool)
    starts, ends = np.array([tokenized.starts, tokenized.ends], dtype=np.int64).reshape(2, -1)
    is_masked = np.zeros(len(tokenized), dtype=bool)
    for start, end in line.unknown:
        is_masked |= (starts < end) & (ends > start)

    def counts(is_counted: NDArray[np.bool_], num_words: int, num_characters: int) -> Counts:
        return Counts(
            float(forward_N[np.append(is_counted, True)].sum()),
            float(backward_N[np.append(True, is_counted)].sum()),
            int(is_counted.sum()) + 1,
            num_words,
            num_characters,
            int((is_unknown & is_counted).sum()),
        )

    masked_characters = sum(end - start for start, end in line.unknown)
    return (
        counts(np.ones(len(tokenized), dtype=bool), line.num_words, len(line.text) + 1),
        counts(~is_masked, line.num_words - len(line.unknown), len(line.text) + 1 - masked_characters),
    )

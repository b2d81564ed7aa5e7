"""A model so small that a test can say what it must answer: each vector spells its token and its place.

It sits behind the seam (service/engine/backend.py); all above it is real, the queue and the thread too.
A token is what spaces separate. With H = 2 a vector holds four numbers, and layer l of token t in a
sentence of n tokens (boundaries not counted) is [number of t, tokens before t | l, tokens after t], where a
token's number is the sum of its characters. The halves know no more than a real network's: the tokens before
are counted by the forward direction and those after by the backward one, from slice to slice by the state.

Shape letters as in service/engine/backend.py.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from model.files import Precision
from model.tokenizer import UNKNOWN_ID, Tokenized
from service.engine.backend import Backend, Floats, Integers
from tests.patience import PATIENCE_S

NUM_LAYERS = 3
DIMENSION = 4

PIECES = ["<unk>", "<s>", *"abcdefghij", "강에서", "배를"]
"""The vocabulary; every other token is unknown, but is read all the same."""


def number(token: str) -> float:
    """Return what the fake network makes of a token's characters: the sum of their code points."""
    return float(sum(map(ord, token)))


def expected_vector(token: str, layer: int, num_tokens: int, position: int) -> list[float]:
    return [number(token), float(position), float(layer), float(num_tokens - 1 - position)]


def expected_log_probability(hidden: Sequence[float], token_id: int) -> float:
    """Return what the fake network makes of half a vector of the top layer. No logarithm of anything."""
    return -(hidden[0] % 16 + hidden[1] / 16 + token_id / 4096)


class FakeTokenizer:
    """Tokens are what spaces separate; a lone "_" is a token that is not shown, as white space can be."""

    def tokenize(self, text: str) -> Tokenized:
        matches = list(re.finditer(r"[^ ]+", text))
        surfaces = [match.group() for match in matches]
        return Tokenized(
            surfaces=surfaces,
            ids=[_id(surface) for surface in surfaces],
            starts=[match.start() for match in matches],
            ends=[match.end() for match in matches],
            words=None,
            visible=[surface != "_" for surface in surfaces],
        )

    def tokenize_words(self, words: Sequence[str]) -> Tokenized:
        """Cut every word before each hyphen, so that a word may have several tokens."""
        pieces = [
            (match.group(), match.start(), match.end(), index)
            for index, word in enumerate(words)
            for match in re.finditer(r".[^-]*", word)
        ]
        surfaces, starts, ends, indices = (list(column) for column in zip(*pieces, strict=True))
        return Tokenized(
            surfaces=surfaces,
            ids=[_id(surface) for surface in surfaces],
            starts=starts,
            ends=ends,
            words=indices,
            visible=[True] * len(pieces),
        )

    def pieces(self) -> list[str]:
        return PIECES


def _id(surface: str) -> int:
    return PIECES.index(surface) if surface in PIECES else UNKNOWN_ID


class FakeAlphabet:
    """A character's id is its code point; the boundary is one id that sums to nothing that text can."""

    def encode(self, surfaces: Sequence[str]) -> Integers:
        char_ids_NC = np.zeros((len(surfaces), max(map(len, surfaces))), dtype=np.int32)
        for n, surface in enumerate(surfaces):
            char_ids_NC[n, : len(surface)] = list(map(ord, surface))
        return char_ids_NC

    def boundary_rows(self) -> Integers:
        return np.array([[-1], [-1]], dtype=np.int32)


class FakeRuntime:
    """D = 1: a token's vector is its number. Records its runs, can be held, can be told to fail.

    Its state, one number for each of 2 x 2 x 2 x H, is how many positions the direction has read, boundaries
    included; all numbers of a direction are the same.
    """

    def __init__(self) -> None:
        self.cnn_runs: list[int] = []  # N of each
        self.batches: list[list[int]] = []  # lengths of each
        self.head_runs: list[int] = []  # N of each
        self.may_run = threading.Event()
        self.may_run.set()
        self.running = threading.Event()
        self.raises_on: float | None = None
        self.nan_on: float | None = None
        self.queue_depth: Callable[[], int] = lambda: 0  # of the server before it, in tokens

    def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
        self.cnn_runs.append(len(char_ids_NC))
        vectors_ND: Floats = char_ids_NC.sum(axis=1, keepdims=True).astype(np.float32)
        return vectors_ND

    def first_state(self, num_sentences: int) -> Floats:
        return np.zeros((2, NUM_LAYERS - 1, 2, num_sentences, DIMENSION // 2), dtype=np.float32)

    def mix_slices(
        self,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        layer_weights_BL: Floats,
        gamma_B: Floats,
    ) -> tuple[Floats, Floats]:
        layers_LTBH, state = self.layer_slices(forward_TBD, backward_TBD, lengths_B, state_SR2BH)
        mixed_TBH = np.einsum("ltbh,bl->tbh", layers_LTBH, layer_weights_BL, dtype=np.float32)
        mixed_TBH *= gamma_B[None, :, None]
        return np.asarray(mixed_TBH, dtype=np.float32), state

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        self.running.set()
        assert self.may_run.wait(PATIENCE_S)
        self.batches.append(lengths_B.tolist())
        if self.raises_on is not None and (forward_TBD == self.raises_on).any():
            raise RuntimeError("the fake was told to fail on secret text")
        num_positions, num_sentences, _ = forward_TBD.shape
        read_before_B, read_after_B = (_counted(state_SR2BH[:, :, direction]) for direction in (0, 1))
        layers_LTBH = np.zeros((NUM_LAYERS, num_positions, num_sentences, DIMENSION), dtype=np.float32)
        positions_T1 = np.arange(num_positions)[:, None]
        layers_LTBH[..., 0] = forward_TBD[..., 0]
        layers_LTBH[..., 1] = read_before_B + positions_T1 - 1  # the boundary is no token
        layers_LTBH[..., 2] = np.arange(NUM_LAYERS)[:, None, None]
        layers_LTBH[..., 3] = read_after_B + (lengths_B - 1 - positions_T1) - 1
        if self.nan_on is not None:
            layers_LTBH[..., 0][layers_LTBH[..., 0] == self.nan_on] = np.nan
            layers_LTBH[..., 2][:, backward_TBD[..., 0] == self.nan_on] = np.nan
        layers_LTBH[:, positions_T1 >= lengths_B] = 0
        return layers_LTBH, state_SR2BH + lengths_B[:, None].astype(np.float32)

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        self.head_runs.append(len(hidden_NH))
        ids_V = np.arange(len(PIECES))
        log_probabilities_NV = -(hidden_NH[:, :1] % 16 + hidden_NH[:, 1:] / 16 + ids_V / 4096)
        return np.asarray(log_probabilities_NV, dtype=np.float32)


def _counted(state_SRBH: Floats) -> Floats:
    """Return the one number of each row, (B)."""
    counts_B: Floats = state_SRBH[0, 0, :, 0]
    assert (state_SRBH == counts_B[:, None]).all()
    return counts_B


def fake_backend(name: str = "fake", runtime: FakeRuntime | None = None) -> Backend:
    return Backend(
        name=name,
        sha256="0" * 64,
        dimension=DIMENSION,
        num_layers=NUM_LAYERS,
        tokenizer=FakeTokenizer(),
        alphabet=FakeAlphabet(),
        runtime=runtime or FakeRuntime(),
    )


def open_fake(folder: Path, num_threads: int, precision: Precision) -> Backend:
    """Stand for service.engine.backend.open_backend: a bundle's name is its folder's."""
    return fake_backend(folder.name)

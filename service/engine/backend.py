"""The seam between the service and a model: what the service asks of one, and how a bundle answers.

Tests put a small fake behind the same seam; everything above it is then the real thing.

Shape letters: N tokens, C characters, D token-vector dim, B sentences, T positions (boundaries included),
L layers, H hidden, S parts of a layer's state, R recurrent layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.files import Precision
from model.reader import open_reader
from model.runtime import Runtime
from model.tokenizer import Tokenized

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


class TokenizerLike(Protocol):
    """Called from several threads at once."""

    def tokenize(self, text: str) -> Tokenized: ...

    def tokenize_words(self, words: Sequence[str]) -> Tokenized: ...

    def pieces(self) -> list[str]:
        """Return the vocabulary, in the order of its ids; nothing when there is no softmax."""
        ...


class AlphabetLike(Protocol):
    """Called from several threads at once."""

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N, C)."""
        ...

    def boundary_rows(self) -> Integers:
        """Return int32 (2, C): what stands before a sentence's first token, and after its last."""
        ...


class WordIdsLike(Protocol):
    """Called from several threads at once."""

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N,)."""
        ...

    def boundary_ids(self) -> Integers:
        """Return int32 (2,), for `boundary_rows`."""
        ...


class RuntimeLike(Protocol):
    """Called from several threads at once: in the service only after one was given up because it hung.

    What a slice is, and its two arrays of token vectors, `model.runtime` says.
    """

    def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
        """Return float32 (N, D). word_ids_N: where words have vectors of their own."""
        ...

    def first_state(self, num_sentences: int) -> Floats:
        """Return the state (S, R, 2, B, H) in which a sentence begins."""
        ...

    def mix_slices(
        self,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        layer_weights_BL: Floats,
        gamma_B: Floats,
    ) -> tuple[Floats, Floats]:
        """Return float32 (T, B, 2H), each row's own mix of its layers, and the next state."""
        ...

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        """Return float32 (L, T, B, 2H), every layer, and the next state."""
        ...

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        """Return float32 (N, V), natural logarithms, from one half of the top layer."""
        ...


@dataclass(frozen=True)
class Backend:
    """One model, ready to run."""

    name: str
    sha256: str  # of the bundle's manifest, which holds the hash of every other file
    dimension: int  # 2H
    num_layers: int  # L
    tokenizer: TokenizerLike
    alphabet: AlphabetLike
    runtime: RuntimeLike
    words: WordIdsLike | None = None  # None: a token's vector depends on its characters alone
    has_softmax: bool = True  # False: it can embed, but not say how likely a token is


def open_backend(folder: Path, num_threads: int, precision: Precision) -> Backend:
    """Load a bundle, every file checked against its hash. Raises BundleError, which names the file."""
    bundle = Bundle.open(folder)
    manifest, reader = bundle.manifest, open_reader(bundle)
    return Backend(
        name=manifest.name,
        sha256=manifest.sha256,
        dimension=manifest.architecture.dimension,
        num_layers=manifest.architecture.num_vector_layers,
        tokenizer=reader.tokenizer,
        alphabet=reader.alphabet,
        runtime=Runtime(bundle, num_threads, precision),
        words=reader.words,
        has_softmax=manifest.architecture.has_softmax,
    )

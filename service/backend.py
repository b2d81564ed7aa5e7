"""The seam between the service and a model: what the service asks of one, and how a bundle answers.

Tests put a small fake behind the same seam; everything above it is then the real thing.

Shape letters: N tokens, C characters, D token-vector dim, B sentences, T positions (boundaries included),
L layers, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle, BundleError
from model.characters import Alphabet
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer, Tokenized

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


class TokenizerLike(Protocol):
    """Called from several threads at once."""

    def tokenize(self, text: str) -> Tokenized: ...

    def tokenize_words(self, words: Sequence[str]) -> Tokenized: ...


class AlphabetLike(Protocol):
    """Called from the engine's thread only."""

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N, C)."""
        ...

    def boundary_row(self) -> Integers:
        """Return int32 (C,)."""
        ...


class RuntimeLike(Protocol):
    """Called from the engine's thread only."""

    def token_vectors(self, char_ids_NC: Integers) -> Floats:
        """Return float32 (N, D)."""
        ...

    def mixed(self, x_TBD: Floats, lengths_B: Integers, layer_weights_BL: Floats, gamma_B: Floats) -> Floats:
        """Return float32 (T, B, 2H): each sentence's own mix of its layers."""
        ...

    def layers(self, x_TBD: Floats, lengths_B: Integers) -> Floats:
        """Return float32 (L, T, B, 2H)."""
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


def open_backend(folder: Path, num_threads: int) -> Backend:
    """Load a bundle, every file checked against its hash. Raises BundleError, which names the file."""
    bundle = Bundle.open(folder)
    manifest = bundle.manifest
    try:
        tokenizer = SentencePieceTokenizer(bundle.folder / "tokenizer.model")
        alphabet = Alphabet.load(bundle.folder / "characters.json")
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error
    for what, expected, found in (
        ("characters.json: characters", manifest.architecture.num_characters, alphabet.num_characters),
        ("tokenizer.model: pieces", manifest.architecture.vocabulary_size, tokenizer.vocabulary_size),
    ):
        if found != expected:
            raise BundleError(
                f"{folder}/{what}: expected {expected}, as many as the network has, found {found}"
            )
    return Backend(
        name=manifest.name,
        sha256=manifest.sha256,
        dimension=manifest.architecture.dimension,
        num_layers=manifest.architecture.num_vector_layers,
        tokenizer=tokenizer,
        alphabet=alphabet,
        runtime=Runtime(bundle, num_threads),
    )

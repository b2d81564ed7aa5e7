"""What a bundle gives for one sentence by itself, from its runtime alone.

Shape letters: L layers, T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.reader import open_reader
from model.runtime import Runtime
from model.tokenizer import Tokenized

Floats = npt.NDArray[np.float32]


class Reference:
    """One bundle. Nothing of the service's engine is used."""

    def __init__(self, bundle: Bundle) -> None:
        self._reader = open_reader(bundle)
        self._runtime = Runtime(bundle, 1)

    def tokenize(self, text: str | Sequence[str]) -> Tokenized:
        tokenizer = self._reader.tokenizer
        return tokenizer.tokenize(text) if isinstance(text, str) else tokenizer.tokenize_words(text)

    def layers(self, text: str | Sequence[str]) -> Floats:
        """Return (L, T, 2H), of the tokens that a reply shows."""
        tokenized = self.tokenize(text)
        alphabet = self._reader.alphabet
        begin_1D, end_1D = np.split(self._runtime.token_vectors(alphabet.boundary_rows()), 2)
        tokens_TD = self._runtime.token_vectors(alphabet.encode(tokenized.surfaces))
        x_T1D = np.concatenate([begin_1D, tokens_TD, end_1D])[:, None]
        layers = self._runtime.layers(x_T1D, np.array([len(x_T1D)], dtype=np.int32))
        shown: Floats = layers[:, 1:-1, 0][:, tokenized.visible]
        return shown

    def average(self, text: str | Sequence[str]) -> Floats:
        """Return (T, 2H)."""
        mean: Floats = self.layers(text).mean(axis=0)
        return mean

"""The pieces of a vocabulary that have vectors of their own, beside their characters.

They are looked up by their surfaces, like the words of an imported model: a token's vector depends on its
surface alone, wherever it came from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.architecture import Architecture
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer

Integers = npt.NDArray[np.int32]


def piece_ids_of(architecture: Architecture, tokenizer: SentencePieceTokenizer) -> PieceIds | None:
    """Return None for a network whose pieces have no vectors of their own."""
    return PieceIds(tokenizer.pieces()) if architecture.word_dim else None


class PieceIds:
    """Any surface that is no piece has the vector of the unknown one."""

    def __init__(self, pieces: Sequence[str]) -> None:
        """pieces: the vocabulary, in the order of its ids."""
        self.num_words = len(pieces)
        self._ids = {piece: i for i, piece in enumerate(pieces) if i not in (UNKNOWN_ID, BOUNDARY_ID)}

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N,), vocabulary ids."""
        return np.array([self._ids.get(surface, UNKNOWN_ID) for surface in surfaces], dtype=np.int32)

    def boundary_ids(self) -> Integers:
        """Return int32 (2,): the same at both ends of a sentence."""
        return np.array([BOUNDARY_ID, BOUNDARY_ID], dtype=np.int32)

"""How the pieces' own vectors begin: as static vectors, in a network that may have been trained without.

Shape letters: V pieces, W dim of their vectors, D token-vector dim, F filters, N pieces at once.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model.architecture import Architecture
from model.bilm import BiLM
from training.corpus import CharacterTable
from training.static_vectors import Floats

PIECES_AT_ONCE = 512

FEATURE_SIZE = 0.1
"""Root mean square of a vector's numbers: small enough for an update of 0.001 to matter to them."""

SHARE = 0.5
"""Of a token vector's length: of what comes from the piece, beside 1 for what comes from its characters."""


def with_room_for_pieces(weights: dict[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
    """Return a network's weights, with zeros where it had no vectors of pieces and the architecture has."""
    if not architecture.word_dim or "word_embedding.weight" in weights:
        return weights
    projection_DF = weights["char_cnn.projection.weight"]
    room_DW = projection_DF.new_zeros(len(projection_DF), architecture.word_dim)
    return {
        **weights,
        "char_cnn.projection.weight": torch.cat([room_DW, projection_DF], dim=1),
        "word_embedding.weight": projection_DF.new_zeros(
            architecture.word_vocabulary_size, architecture.word_dim
        ),
    }


@torch.no_grad()
def start_pieces(model: BiLM, vectors_VW: Floats, characters: CharacterTable) -> None:
    """Give every piece its static vector, and the projection a rotation of it to add to the characters' part.

    vectors_VW: rows of length 1, or 0. A rotation keeps what is near near.
    """
    assert model.word_embedding is not None
    num_pieces, word_dim = vectors_VW.shape
    model.word_embedding.weight.copy_(torch.from_numpy(vectors_VW) * (FEATURE_SIZE * word_dim**0.5))
    columns_DW = model.char_cnn.projection.weight[:, :word_dim]
    columns_DW.zero_()
    lengths = []
    for start in range(0, num_pieces, PIECES_AT_ONCE):
        ids_N = np.arange(start, min(start + PIECES_AT_ONCE, num_pieces))
        rows = torch.from_numpy(characters.rows(ids_N)).to(columns_DW.device)
        piece_ids = torch.from_numpy(characters.piece_ids[ids_N]).to(columns_DW.device)
        lengths.append(model.token_vectors(rows, piece_ids).norm(dim=1))
    own_length = FEATURE_SIZE * word_dim**0.5
    scale = SHARE * float(torch.cat(lengths).mean()) / own_length
    columns_DW.copy_(nn.init.orthogonal_(torch.empty(columns_DW.shape), gain=scale))

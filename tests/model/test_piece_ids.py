from __future__ import annotations

import numpy as np

from model.piece_ids import PieceIds
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID

PIECES = ["<unk>", "<s>", "▁bank", "bank", "▁배"]


def test_a_surface_is_looked_up_as_it_is_written() -> None:
    pieces = PieceIds(PIECES)
    assert pieces.num_words == 5
    ids_N = pieces.encode(["▁배", "bank", "▁bank", "▁Bank", ""])
    assert ids_N.dtype == np.int32
    assert ids_N.tolist() == [4, 3, 2, UNKNOWN_ID, UNKNOWN_ID]
    assert pieces.encode([]).shape == (0,)


def test_no_text_has_the_vector_of_a_boundary() -> None:
    pieces = PieceIds(PIECES)
    assert pieces.encode(["<s>", "<unk>"]).tolist() == [UNKNOWN_ID, UNKNOWN_ID]
    assert pieces.boundary_ids().tolist() == [BOUNDARY_ID, BOUNDARY_ID]

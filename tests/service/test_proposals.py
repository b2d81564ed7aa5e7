"""Which pieces come into the shortlist, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from model.tokenizer import Tokenized
from service.cloze import Gap
from service.engine.backend import Floats
from service.proposals import Proposal, shortlist, shortlist_size

PIECES = ["<unk>", "<s>", "▁", "▁at", "at", "▁sea", "sea", "▁seat", "▁____", "▁\u200b", "seaat"]


def floats(**of: float) -> Floats:
    """Return log-probabilities of the pieces that are named, `space_` for the mark; -9 for all others."""
    named = {name.replace("space_", "▁"): value for name, value in of.items()}
    return np.array([named.get(piece, -9) for piece in PIECES], dtype=np.float32)


FLAT = floats()


def listed(proposals: list[Proposal]) -> list[str]:
    return [proposal.text for proposal in proposals]


def test_the_sum_of_both_directions_decides() -> None:
    forward_V = floats(space_at=-1, space_sea=-2, space_seat=-3)
    backward_V = floats(space_at=-6, space_sea=-2, space_seat=-3)
    assert listed(shortlist(PIECES, forward_V, FLAT, [("", backward_V)], 3)) == ["sea", "seat", "at"]


def test_equal_pieces_come_in_the_vocabularys_order() -> None:
    forward_V = floats(space_seat=-1, space_sea=-1, space_at=-1)
    assert listed(shortlist(PIECES, forward_V, FLAT, [("", FLAT)], 3)) == ["at", "sea", "seat"]


def test_a_piece_without_the_mark_may_begin_a_word_after_a_space_that_is_predicted_too() -> None:
    forward_V, spaced_V = floats(space_=-3, space_sea=-4, space_seat=-5.5), floats(at=-2, sea=-2.25, seaat=-3)
    proposals = shortlist(PIECES, forward_V, spaced_V, [("", FLAT)], 5)
    # ▁sea -4, ▁ at -5, ▁ sea -5.25 (proposed already), ▁seat -5.5, ▁ seaat -6
    assert listed(proposals) == ["sea", "at", "seat", "seaat"]
    assert proposals[0].surfaces == {"▁sea", "sea"}


def test_within_a_word_nothing_has_the_mark() -> None:
    forward_V = floats(space_sea=-1, space_at=-1, seaat=-2)
    proposals = shortlist(PIECES, forward_V, None, [("", FLAT)], 100)
    assert listed(proposals) == ["seaat", "at", "sea"]
    assert [proposal.surfaces for proposal in proposals] == [{"seaat"}, {"at"}, {"sea"}]


@pytest.mark.parametrize(
    ("spaced_V", "texts"), [(FLAT, {"at", "sea", "seat", "seaat"}), (None, {"at", "sea", "seaat"})]
)
def test_what_is_no_text_is_never_proposed(spaced_V: Floats | None, texts: set[str]) -> None:
    """Neither unknown nor boundary, space, underscores, or a character that is not read."""
    assert set(listed(shortlist(PIECES, FLAT, spaced_V, [("", FLAT)], 100))) == texts


def test_a_piece_may_go_on_into_the_text() -> None:
    forward_V = floats(space_sea=-1, space_seat=-2, space_at=-3)
    backward = [("", floats(space_sea=-1, space_seat=-1)), ("t", floats(space_seat=-1, space_at=-1))]
    proposals = shortlist(PIECES, forward_V, FLAT, backward, 2)
    assert listed(proposals) == ["sea", "seat", "a"]
    assert [proposal.surfaces for proposal in proposals] == [{"▁sea", "▁seat"}, {"▁seat"}, {"▁at"}]


def test_a_piece_that_is_all_in_the_text_already_fills_nothing() -> None:
    assert listed(shortlist(PIECES, FLAT, FLAT, [("seaat", FLAT)], 100)) == []


def test_more_is_tried_than_is_asked_for() -> None:
    assert [shortlist_size(top) for top in (1, 10, 100)] == [55, 100, 550]


def test_a_proposal_stands_when_its_piece_is_at_the_blank() -> None:
    filled = Tokenized(["▁a", "▁", "sea", "t"], [3, 2, 4, 5], [0, 2, 2, 5], [1, 2, 5, 6], None, [True] * 4)
    gap = Gap("a __t", 2, 4)
    assert Proposal("sea", {"▁sea", "sea"}).stands(gap, filled)
    assert not Proposal("sea", {"▁sea"}).stands(gap, filled)
    assert not Proposal("t", {"t"}).stands(gap, filled)  # elsewhere only

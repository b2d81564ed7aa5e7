"""Which pieces of the vocabulary might fill a blank: a shortlist, each of which is then filled in and scored.

The forward direction says how probable every piece is after what stands before the blank, the backward one
how probable it is before what stands after it; the shortlist is the largest sums. What is missing in them is
how well the rest of the text goes with the piece. So the order of the sums is not the final one, and the
shortlist is several times as long as what is asked for.

In Korean a blank is often followed by a particle without a space, and frequent words have grown into one
piece with it ("▁중에서"). So a piece may also go on into the text: for "____에서" there are the pieces that
end where the blank does, and those that end in 에서, of which the blank gets what stands before that.

Shape letter: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from model.characters import WORD_START
from model.tokenizer import BOUNDARY_ID, NOT_READ, UNKNOWN_ID, Tokenized
from service.cloze import UNDERSCORES, Gap
from service.engine.backend import Floats


def shortlist_size(top: int) -> int:
    """Return how many pieces are tried, of each way to go on into the text."""
    return 50 + 5 * top


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text for the blank."""

    text: str
    surfaces: set[str] = field(default_factory=set)  # the pieces that it was found through

    def stands(self, gap: Gap, filled: Tokenized) -> bool:
        """Whether the filled-in text really has one of the pieces at the blank: only then the sums were
        about it."""
        return any(
            start == gap.start and surface in self.surfaces
            for surface, start in zip(filled.surfaces, filled.starts, strict=True)
        )


def shortlist(
    pieces: Sequence[str],
    forward_V: Floats,
    spaced_V: Floats | None,
    backward: Sequence[tuple[str, Floats]],
    size: int,
) -> list[Proposal]:
    """Return the best texts for the blank, at most `size` for each of `backward`, best first.

    forward_V: every piece's log-probability after what stands before the blank; spaced_V: after that and a
    space as a token of its own, when the blank begins a word; backward: what a piece goes on into, and every
    piece's log-probability before what stands after that.
    """
    proposals: dict[str, Proposal] = {}
    first_V = _first(pieces, forward_V, spaced_V)
    for joined, backward_V in backward:
        for text, surface in islice(_fills(pieces, first_V + backward_V, joined), size):
            proposals.setdefault(text, Proposal(text)).surfaces.add(surface)
    return list(proposals.values())


def _first(pieces: Sequence[str], forward_V: Floats, spaced_V: Floats | None) -> Floats:
    """Return every piece's log-probability as the first in the blank.

    A word begins with a piece that has the word-start mark, or else with a space as a token of its own, which
    must be predicted too. Within a word no piece has the mark.
    """
    has_mark_V = np.array([piece.startswith(WORD_START) for piece in pieces])
    if spaced_V is None:
        return np.where(has_mark_V, np.float32(-np.inf), forward_V)
    return np.where(has_mark_V, forward_V, forward_V[pieces.index(WORD_START)] + spaced_V)


def _fills(pieces: Sequence[str], scores_V: Floats, joined: str) -> Iterator[tuple[str, str]]:
    """Yield texts for the blank and their pieces, best first, equal ones in the vocabulary's order."""
    for i in np.argsort(-scores_V, kind="stable"):
        surface = pieces[i]
        if i in (UNKNOWN_ID, BOUNDARY_ID) or scores_V[i] == -np.inf or not surface.endswith(joined):
            continue
        text = surface.removeprefix(WORD_START).removesuffix(joined)
        if text.strip(NOT_READ) and not UNDERSCORES.fullmatch(text):
            yield text, surface

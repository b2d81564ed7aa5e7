"""A blank in a text: where it is, and what stands around it.

Offsets are Unicode code points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from model.characters import WORD_START
from model.tokenizer import UNKNOWN_ID, Tokenized
from service.body import show
from service.errors import ErrorType, ServiceError

UNDERSCORES = re.compile("__+")
"""One underscore is a character like any other: max_tokens is a word."""

PLACEHOLDER = "\ue000"
"""Stands in the blank while the text around it is tokenised: a private character, which no piece contains.
A text that has it beside its blank may get no proposals."""

MAX_JOINED = 2
"""Tokens after the blank that a proposed piece may go on into: a particle is seldom more."""


@dataclass(frozen=True, slots=True)
class Gap:
    """text[start:end] is to be replaced."""

    text: str
    start: int
    end: int

    @property
    def num_around(self) -> int:
        """Characters that stand around the blank."""
        return len(self.text) - (self.end - self.start)

    def filled(self, candidate: str) -> str:
        """Return the text with the candidate in its blank."""
        return self.text[: self.start] + candidate + self.text[self.end :]

    def shows(self, candidate: str, filled: Tokenized) -> bool:
        """Whether a token of the filled-in text is of the candidate, at least in part."""
        end = self.start + len(candidate)
        spans = zip(filled.starts, filled.ends, filled.visible, strict=True)
        return any(visible and low < end and high > self.start for low, high, visible in spans)


def find_gap(text: str, asked: Sequence[int] | None, max_characters: int) -> Gap:
    """Return the blank that was asked for, or the one run of underscores. Raises ServiceError."""
    if len(text) > max_characters:
        message = f"expected at most {max_characters} characters, got {len(text)}"
        raise ServiceError(ErrorType.input_too_long, message, "text")
    if asked is None:
        runs = list(UNDERSCORES.finditer(text))
        if len(runs) != 1:
            came = f"{len(runs)}: say which with `blank`" if runs else "none"
            message = f"expected one blank, a run of two or more underscores, got {came}"
            raise ServiceError(ErrorType.invalid_request, message, "text")
        return Gap(text, *runs[0].span())
    if len(asked) != 2:
        message = f"expected [start, end], got a list of {len(asked)}"
        raise ServiceError(ErrorType.invalid_request, message, "blank")
    start, end = asked
    if not 0 <= start <= end <= len(text):
        came = f"{show(start)} and {show(end)}"
        message = f"expected 0 <= start <= end <= {len(text)}, the length of the text, got {came}"
        raise ServiceError(ErrorType.invalid_request, message, "blank")
    return Gap(text, start, end)


def check_candidates(gap: Gap, candidates: Sequence[str], max_candidates: int, max_characters: int) -> None:
    """Raise ServiceError for the first candidate that cannot fill the blank."""
    if len(candidates) > max_candidates:
        message = f"expected at most {max_candidates} candidates, got {len(candidates)}"
        raise ServiceError(ErrorType.too_many_inputs, message, "candidates")
    seen: dict[str, int] = {}
    for i, candidate in enumerate(candidates):
        where = f"candidates[{i}]"
        if not candidate or candidate.isspace():
            came = "white space alone" if candidate else "an empty string"
            raise ServiceError(ErrorType.invalid_request, f"expected text, got {came}", where)
        if seen.setdefault(candidate, i) != i:
            message = f"expected each candidate once, got candidates[{seen[candidate]}] again"
            raise ServiceError(ErrorType.invalid_request, message, where)
        num_characters = gap.num_around + len(candidate)
        if num_characters > max_characters:
            message = (
                f"expected at most {max_characters} characters in the filled-in text, got {num_characters}"
            )
            raise ServiceError(ErrorType.input_too_long, message, where)


@dataclass(frozen=True, slots=True)
class Context:
    """What the network reads before and after a blank: the surfaces of the tokens."""

    before: list[str]
    after: list[str]
    starts_word: bool  # whether what fills the blank comes after a space, or first

    @classmethod
    def of(cls, gap: Gap, with_placeholder: Tokenized) -> Context:
        """with_placeholder: the tokens of `gap.filled(PLACEHOLDER)`.

        The placeholder is an unknown character, which SentencePiece joins with unknown neighbours.
        """
        at = next(i for i, end in enumerate(with_placeholder.ends) if end > gap.start)
        surfaces = with_placeholder.surfaces
        joined_before, _, joined_after = surfaces[at].partition(PLACEHOLDER)
        before = surfaces[:at] + [joined_before] * bool(joined_before)
        after = [joined_after] * bool(joined_after) + surfaces[at + 1 :]
        starts_word = before[-1:] == [WORD_START]
        return cls(before[:-1] if starts_word else before, after, starts_word)

    @property
    def num_tokens(self) -> int:
        return len(self.before) + len(self.after)

    def spaced(self) -> list[str]:
        """Return what is before the blank and the space as a token of its own, which stands before a word
        whose first piece has no word-start mark."""
        return [*self.before, WORD_START]

    def continuations(self) -> list[tuple[str, list[str]]]:
        """Return what a piece may go on into, nothing at first, and what is after that."""
        joined = 0
        while joined < min(MAX_JOINED, len(self.after)) and not self.after[joined].startswith(WORD_START):
            joined += 1
        return [("".join(self.after[:count]), self.after[count:]) for count in range(joined + 1)]


def to_read(surfaces: Sequence[str]) -> Tokenized:
    """Return tokens that are only read, not scored: their ids and offsets mean nothing."""
    count = len(surfaces)
    return Tokenized(list(surfaces), [UNKNOWN_ID] * count, [0] * count, [0] * count, None, [True] * count)

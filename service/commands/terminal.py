"""Text for people: how wide it stands on a terminal, columns of it, and whether it may be coloured."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import TextIO

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Classes of characters that change the direction of text: with them "a" can be made to look like "b"."""


def printable(text: str) -> str:
    """Return the text in NFC, with a sign for each character that would command the terminal, end the line or
    turn around what follows it."""
    return "".join(
        REPLACEMENT if _is_command(character) else character
        for character in unicodedata.normalize("NFC", text)
    )


def _is_command(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in _TURNS
    )


def width(text: str) -> int:
    """Return how many columns printable text takes: two for a Hangul syllable, none for a mark."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def left(text: str, columns: int) -> str:
    """Return the text at the left of so many columns."""
    return text + " " * (columns - width(text))


def right(text: str, columns: int) -> str:
    return " " * (columns - width(text)) + text


def table(rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> list[str]:
    """Return the rows as lines of aligned columns; those of `numbers` stand at the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            (right if i in numbers else left)(cell, columns)
            for i, (cell, columns) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def is_coloured(asked: str, out: TextIO, environment: Mapping[str, str]) -> bool:
    """Return whether to colour what goes to `out`; asked: "always", "never" or "auto".

    Source: https://no-color.org
    """
    if asked != "auto":
        return asked == "always"
    return out.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"

"""Words of a text: runs of letters and digits, and every other mark alone. Case is kept.

Offsets are code points.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.corpus import read_documents

Span = tuple[int, int]

_WORD = re.compile(r"\w+|[^\w\s]")


def word_spans(text: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(text)]


class Lines:
    """The words of every line of some files; may be read again and again.

    max_words: whole documents, spread evenly over the files, of about so many words; None: all.
    """

    def __init__(self, files: Sequence[Path], max_words: int | None = None) -> None:
        self._files = files
        self._share = 1.0
        if max_words is not None:
            self._share = min(1.0, max_words / max(1, sum(map(len, self))))

    def __iter__(self) -> Iterator[list[str]]:
        due = 0.0
        for path in self._files:
            for document in read_documents(path):
                due += self._share
                if due >= 1:
                    due -= 1
                    yield from map(_WORD.findall, document)

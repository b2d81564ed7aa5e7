"""Rows of CoNLL-U: each sentence, its words as they are given.

Source: https://universaldependencies.org/format.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from service.body import show
from service.bulk.options import Options
from service.bulk.rows import BadRow, Row, checked, decoded
from service.bulk.sources import MAX_LINE_BYTES, Source, lines_of

COLUMNS = ("form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
"""Of a word, after its number; kept as lists, an item for each word."""

COMMENTS = ("sent_id", "text")
"""Of a sentence (`# NAME = VALUE`), kept when they are there."""

_NO_WORD = re.compile(r"\d+-\d+|\d+\.\d+")


def conllu_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield a row for each sentence; ranges (1-2) and empty nodes (1.1) are no words of it.

    One bad line makes its sentence a bad row, which is told with that line.
    """
    sentence = _Sentence()
    for number, line in lines_of(source):
        if line is not None and not line.strip():
            if sentence.has_begun:
                yield sentence.row(options)
            sentence = _Sentence()
            continue
        try:
            sentence.add(number, decoded(line, MAX_LINE_BYTES))
        except BadRow as error:
            sentence.fail(number, str(error))
    if sentence.has_begun:
        yield sentence.row(options)


class _Sentence:
    """What has been read of one."""

    def __init__(self) -> None:
        self.has_begun = False
        self._line = 0
        self._comments: dict[str, str] = {}
        self._words: list[list[str]] = []
        self._bad: Row | None = None
        self._num_characters = 0

    def add(self, number: int, line: str) -> None:
        """Raises BadRow."""
        self._num_characters += len(line)
        if line.startswith("#"):
            name, _, value = line[1:].partition("=")
            self._comments.setdefault(name.strip(), value.strip())
            return
        self._begin(number)
        cells = line.split("\t")
        if len(cells) != 1 + len(COLUMNS):
            raise BadRow(f"expected {1 + len(COLUMNS)} columns between tabs, got {len(cells)}")
        if cells[0].isdecimal():
            self._words.append(cells[1:])
        elif not _NO_WORD.fullmatch(cells[0]):
            raise BadRow(f"expected the number of a word, a range or an empty node, got {show(cells[0])}")

    def fail(self, number: int, message: str) -> None:
        self._begin(number)
        self._bad = self._bad or Row(number, error=message)

    def row(self, options: Options) -> Row:
        if self._bad is not None:
            return self._bad
        columns = zip(*self._words, strict=True) if self._words else ([],) * len(COLUMNS)
        kept: dict[str, Any] = {name: self._comments.get(name) for name in COMMENTS}
        kept.update({name: list(column) for name, column in zip(COLUMNS, columns, strict=True)})
        return checked(self._line, kept[COLUMNS[0]], kept, self._num_characters, options)

    def _begin(self, number: int) -> None:
        if not self.has_begun:
            self.has_begun, self._line = True, number

"""Pairs with a number each: two marked words, or two texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.marked import Marked, mark, mark_token
from training.probes.readers.rows import json_rows, number, table_rows

_OPEN, _CLOSE = "<b>", "</b>"
# How the texts of scws end a sentence: their tokens are apart.
_SENTENCE_END = " . "


@dataclass(frozen=True, slots=True)
class WordPair:
    """Two marked words; score: 1 for the same sense, 0 for two, or how alike people found them."""

    first: Marked
    second: Marked
    score: float


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts, and how alike people found them."""

    first: str
    second: str
    score: float


def read_token_pairs(path: Path) -> list[WordPair]:
    """Objects with tokens1, index1, tokens2, index2, label. Raises ValueError, naming file and line."""
    fields = {"tokens1": list, "index1": int, "tokens2": list, "index2": int, "label": int}
    return [
        WordPair(
            mark_token(where, row["tokens1"], row["index1"]),
            mark_token(where, row["tokens2"], row["index2"]),
            _label(where, row["label"]),
        )
        for where, row in json_rows(path, fields)
    ]


def read_span_pairs(path: Path) -> list[WordPair]:
    """Objects with s1, start1, end1, s2, start2, end2, label. Raises ValueError, naming file and line."""
    fields = {"s1": str, "start1": int, "end1": int, "s2": str, "start2": int, "end2": int, "label": int}
    return [
        WordPair(
            mark(where, row["s1"], row["start1"], row["end1"]),
            mark(where, row["s2"], row["start2"], row["end2"]),
            _label(where, row["label"]),
        )
        for where, row in json_rows(path, fields)
    ]


def read_rated_contexts(path: Path) -> list[WordPair]:
    """Objects with context1, context2 (a word between <b> and </b>) and score.

    Of a context, which is a paragraph, the sentence with the word is kept. Raises ValueError, naming file and
    line.
    """
    fields = {"context1": str, "context2": str}
    pairs = []
    for where, row in json_rows(path, fields):
        score = number(where, "score", str(row.get("score")))
        pairs.append(WordPair(_bold_word(where, row["context1"]), _bold_word(where, row["context2"]), score))
    return pairs


def read_text_pairs(path: Path) -> list[TextPair]:
    """A table with score, text1, text2. Raises ValueError, naming file and line."""
    return [
        TextPair(first, second, number(where, "score", score))
        for where, (score, first, second) in table_rows(path, "score", "text1", "text2")
    ]


def _label(where: str, label: int) -> float:
    if label not in (0, 1):
        raise ValueError(f"{where}: label: expected 0 or 1, got {label}")
    return float(label)


def _bold_word(where: str, context: str) -> Marked:
    before, opened, rest = context.partition(_OPEN)
    word, closed, after = rest.partition(_CLOSE)
    if not (opened and closed and word.strip()):
        raise ValueError(f"{where}: expected a word between {_OPEN} and {_CLOSE}, got {context[:40]!r}")
    before = before[before.rfind(_SENTENCE_END) + len(_SENTENCE_END) :] if _SENTENCE_END in before else before
    after = after.partition(_SENTENCE_END)[0]
    before, word, after = before.strip(), word.strip(), after.strip()
    start = len(before) + 1 if before else 0
    return mark(where, " ".join(part for part in (before, word, after) if part), start, start + len(word))

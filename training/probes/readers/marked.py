"""Sentences with a marked word: by code points, or as the number of a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.rows import json_rows

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Marked:
    """A word marked in a sentence, `sentence[start:end]` in code points."""

    sentence: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SenseExample:
    """A marked word, what it is listed under, and its sense."""

    word: str
    sense: str
    sentence: str
    start: int
    end: int


def read_senses(path: Path) -> list[SenseExample]:
    """Objects with word, sense, sentence, start, end. Raises ValueError, naming file and line."""
    fields = {"word": str, "sense": str, "sentence": str, "start": int, "end": int}
    examples = []
    for where, row in json_rows(path, fields):
        marked = mark(where, row["sentence"], row["start"], row["end"])
        examples.append(SenseExample(row["word"], row["sense"], marked.sentence, marked.start, marked.end))
    return examples


def read_token_senses(path: Path) -> list[SenseExample]:
    """Objects with word, sense, tokens, index (of the word). Raises ValueError, naming file and line."""
    fields = {"word": str, "sense": str, "tokens": list, "index": int}
    examples = []
    for where, row in json_rows(path, fields):
        marked = mark_token(where, row["tokens"], row["index"])
        examples.append(SenseExample(row["word"], row["sense"], marked.sentence, marked.start, marked.end))
    return examples


def mark(where: str, sentence: str, start: int, end: int) -> Marked:
    """Raises ValueError, naming `where`, for a span that is empty or outside the sentence."""
    if not 0 <= start < end <= len(sentence):
        raise ValueError(
            f"{where}: span {start}..{end} is outside the sentence of {len(sentence)} code points"
        )
    return Marked(sentence, start, end)


def mark_token(where: str, tokens: Sequence[str], index: int) -> Marked:
    """Tokens joined by spaces, one of them marked. Raises ValueError, naming `where`, for no such token."""
    if not 0 <= index < len(tokens):
        raise ValueError(f"{where}: token {index} is outside the sentence of {len(tokens)} tokens")
    text, spans = join_tokens(tokens)
    return mark(where, text, *spans[index])


def join_tokens(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """Tokens joined by spaces, and the span of each."""
    spans = []
    at = 0
    for token in tokens:
        spans.append((at, at + len(token)))
        at += len(token) + 1
    return " ".join(tokens), spans

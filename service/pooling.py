"""From token rows to the rows of a reply: one for each token or word, or one for the whole sentence.

Shape letters: T tokens of a reply (white space left out), R rows of a reply, D dimension; a leading axis of
layers, where there is one, passes through (...).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from model.tokenizer import Tokenized
from service.backend import Floats
from service.schemas import Pool, Text


class Span(TypedDict):
    """A stretch of the input, in code points, or for a list of words, of its word number `word`."""

    text: str
    start: int
    end: int
    word: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One input with a vector for each of its tokens."""

    text: Text
    tokens: list[Span]  # T
    vectors: Floats  # (..., T, D)

    @classmethod
    def of(cls, text: Text, tokenized: Tokenized, vectors: Floats) -> Encoded:
        """Join a text and the vectors of all its tokens, and leave out those that are white space alone."""
        visible = [i for i, shown in enumerate(tokenized.visible) if shown]
        if len(visible) < len(tokenized):
            vectors = vectors.take(visible, axis=-2)
        return cls(text, [_token(text, tokenized, i) for i in visible], vectors)


def _token(text: Text, tokenized: Tokenized, i: int) -> Span:
    start, end = tokenized.starts[i], tokenized.ends[i]
    if isinstance(text, str):
        return Span(text=text[start:end], start=start, end=end)
    assert tokenized.words is not None
    word = tokenized.words[i]
    return Span(text=text[word][start:end], start=start, end=end, word=word)


def pool(sentence: Encoded, kind: Pool) -> tuple[Floats, list[Span] | None]:
    """Return the rows (..., R, D), and their words when `kind` is "word" and the text a string."""
    num_tokens = len(sentence.tokens)
    match kind:
        case "token":
            return sentence.vectors, None
        case "sentence":
            return sentence.vectors.mean(axis=-2, keepdims=True, dtype=np.float32), None
        case "sentence_max":
            return sentence.vectors.max(axis=-2, keepdims=True), None
        case "sentence_first":
            return sentence.vectors[..., :1, :], None
        case "sentence_last":
            return sentence.vectors[..., num_tokens - 1 :, :], None
    if isinstance(sentence.text, str):
        words, ranges = _words_of_string(sentence.text, sentence.tokens)
        return _mean_of_ranges(sentence.vectors, ranges), words
    return _mean_of_ranges(sentence.vectors, _ranges_of_words(sentence)), None


def normalized(vectors: Floats) -> Floats:
    """Return the rows scaled to length 1; a row of zeros stays as it is."""
    # In float64 because a square of a small float32 is zero.
    norms = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)


def _words_of_string(text: str, tokens: Sequence[Span]) -> tuple[list[Span], list[tuple[int, int]]]:
    """Return the stretches between white space, and the tokens that overlap each.

    One that no token overlaps (a zero-width character by itself) is no word.
    """
    starts = [token["start"] for token in tokens]
    ends = [token["end"] for token in tokens]
    words, ranges = [], []
    for match in re.finditer(r"\S+", text):
        first, last = bisect_right(ends, match.start()), bisect_left(starts, match.end())
        if first < last:
            words.append(Span(text=match.group(), start=match.start(), end=match.end()))
            ranges.append((first, last))
    return words, ranges


def _ranges_of_words(sentence: Encoded) -> list[tuple[int, int]]:
    """Return the tokens of every word of a list of words, which has at least one each."""
    word_of_token = [token["word"] for token in sentence.tokens]
    indices = range(len(sentence.text))
    return [(bisect_left(word_of_token, word), bisect_right(word_of_token, word)) for word in indices]


def _mean_of_ranges(vectors: Floats, ranges: Sequence[tuple[int, int]]) -> Floats:
    if not ranges:
        return vectors[..., :0, :]
    # One mean for each is faster than np.add.reduceat at the 1 to 5 tokens that a word has.
    return np.stack(
        [vectors[..., first:last, :].mean(axis=-2, dtype=np.float32) for first, last in ranges], axis=-2
    )

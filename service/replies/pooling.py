"""From token rows to the rows of a reply: one for each token, word or span, or one for the whole sentence.

Shape letters: T tokens of a reply (white space left out), R rows of a reply, D dimension; a leading axis of
layers or of tasks, where there is one, passes through (...).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np

from model.tokenizer import Tokenized
from service.choices import Pool
from service.engine.backend import Floats
from service.errors import ErrorType, ServiceError
from service.schemas import Spans, Text

MANY_TIMES_OVER = 8
"""Ranges that overlap so much that each token is read this often are added up beforehand."""

COLUMNS_AT_ONCE = 64
"""Of D, when ranges are added up beforehand: 10 MB of float64 for 20,000 tokens."""


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
        visible = _visible(tokenized)
        if len(visible) < len(tokenized):
            vectors = vectors.take(visible, axis=-2)
        return cls(text, [token_span(text, tokenized, i) for i in visible], vectors)


def _visible(tokenized: Tokenized) -> list[int]:
    return [i for i, shown in enumerate(tokenized.visible) if shown]


def token_span(text: Text, tokenized: Tokenized, i: int) -> Span:
    """Return where token i is in the text as it was sent."""
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


def pool_spans(sentence: Encoded, spans: Spans) -> tuple[Floats, list[Span]]:
    """Return a row for each span [start, end) of a string, (..., R, D), and the spans with their text.

    The spans have been checked (check_touching).
    """
    assert isinstance(sentence.text, str)
    marks = [Span(text=sentence.text[start:end], start=start, end=end) for start, end in spans]
    starts = [token["start"] for token in sentence.tokens]
    ends = [token["end"] for token in sentence.tokens]
    return _mean_of_ranges(
        sentence.vectors, [_overlap(starts, ends, start, end) for start, end in spans]
    ), marks


def word_and_text(tokenized: Tokenized, layers: Floats, start: int, end: int) -> Floats:
    """Return the row of the span [start, end) in each layer, and the whole text's in layer 0: (L + 1, D).

    layers: (L, T, D), of which no copy is made; a document's would be as large again.
    """
    visible = _visible(tokenized)
    starts, ends = [tokenized.starts[i] for i in visible], [tokenized.ends[i] for i in visible]
    first, last = _overlap(starts, ends, start, end)
    word_LD = layers[:, visible[first:last]].mean(axis=1, dtype=np.float32)
    is_visible_T1 = np.array(tokenized.visible)[:, None]
    text_1D = layers[:1].mean(axis=1, dtype=np.float32, where=is_visible_T1)
    return np.concatenate([word_LD, text_1D])


def check_touching(spans: Spans, tokenized: Tokenized, where: str) -> None:
    """Raise ServiceError for the first span that touches no token of a reply; `where` is the spans' place."""
    visible = _visible(tokenized)
    starts, ends = [tokenized.starts[i] for i in visible], [tokenized.ends[i] for i in visible]
    for i, (start, end) in enumerate(spans):
        first, last = _overlap(starts, ends, start, end)
        if first >= last:
            message = "expected a span that touches a token, got one of characters that belong to none"
            raise ServiceError(ErrorType.invalid_request, message, f"{where}[{i}]")


def normalized(vectors: Floats) -> Floats:
    """Return the rows scaled to length 1; a row of zeros stays as it is."""
    # In float64 because a square of a small float32 is zero; a few rows at a time, which numpy sees to.
    squares = np.einsum("...d,...d->...", vectors, vectors, dtype=np.float64)[..., None]
    norms = np.sqrt(np.where(squares == 0, 1, squares))
    scaled = np.empty_like(vectors)
    np.divide(vectors, norms, out=scaled, dtype=np.float64, casting="same_kind")
    return scaled


def _words_of_string(text: str, tokens: Sequence[Span]) -> tuple[list[Span], list[tuple[int, int]]]:
    """Return the stretches between white space, and the tokens that overlap each.

    One that no token overlaps (a zero-width character by itself) is no word.
    """
    starts = [token["start"] for token in tokens]
    ends = [token["end"] for token in tokens]
    words, ranges = [], []
    for match in re.finditer(r"\S+", text):
        first, last = _overlap(starts, ends, match.start(), match.end())
        if first < last:
            words.append(Span(text=match.group(), start=match.start(), end=match.end()))
            ranges.append((first, last))
    return words, ranges


def _overlap(starts: Sequence[int], ends: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Return the first of the tokens that overlap [start, end), and the one after the last of them."""
    return bisect_right(ends, start), bisect_left(starts, end)


def _ranges_of_words(sentence: Encoded) -> list[tuple[int, int]]:
    """Return the tokens of every word of a list of words, which has at least one each."""
    word_of_token = [token["word"] for token in sentence.tokens]
    indices = range(len(sentence.text))
    return [(bisect_left(word_of_token, word), bisect_right(word_of_token, word)) for word in indices]


def _mean_of_ranges(vectors: Floats, ranges: Sequence[tuple[int, int]]) -> Floats:
    if not ranges:
        return vectors[..., :0, :]
    if sum(last - first for first, last in ranges) > MANY_TIMES_OVER * vectors.shape[-2]:
        return _mean_of_many_ranges(vectors, ranges)
    # One mean for each is faster than np.add.reduceat at the 1 to 5 tokens that a word has.
    return np.stack(
        [vectors[..., first:last, :].mean(axis=-2, dtype=np.float32) for first, last in ranges], axis=-2
    )


def _mean_of_many_ranges(vectors: Floats, ranges: Sequence[tuple[int, int]]) -> Floats:
    """The same from running sums: a hundred thousand spans of a whole document would take minutes."""
    first_R, last_R = np.array(ranges).T
    means = np.empty((*vectors.shape[:-2], len(ranges), vectors.shape[-1]), dtype=np.float32)
    for start in range(0, vectors.shape[-1], COLUMNS_AT_ONCE):
        columns = vectors[..., start : start + COLUMNS_AT_ONCE]
        nothing = np.zeros((*columns.shape[:-2], 1, columns.shape[-1]))
        sums = np.concatenate([nothing, columns.cumsum(axis=-2, dtype=np.float64)], axis=-2)
        totals = sums.take(last_R, axis=-2) - sums.take(first_R, axis=-2)
        means[..., start : start + COLUMNS_AT_ONCE] = totals / (last_R - first_R)[:, None]
    return means

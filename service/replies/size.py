"""How many bytes a reply to /v1/embed can have, counted from its tokens before any vector is computed.

Shape letters: B inputs, R rows of all inputs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import orjson

from model.tokenizer import Tokenized
from service.errors import ErrorType, ServiceError
from service.replies.accept import JSON
from service.replies.answers import Heading
from service.schemas import EmbedRequest, Text

JSON_NUMBER_BYTES = 17
"""The longest float32, -0.0000063184107, and its comma. In most replies it is 11 to 14."""

SPAN_BYTES = 64
"""A token, word or span beside its text: as JSON, names and numbers of up to seven digits."""

CHARACTER_BYTES = 6
"""A code point as JSON: up to four bytes of UTF-8, or an escape such as \\u0000."""

ROW_BYTES = 4
"""The brackets and the comma around a row."""

INPUT_BYTES = 128
"""What surrounds the tokens and the vectors of one input, once for each of several layers or tasks."""

FORM_BYTES = 16384
"""What surrounds them all, at most: in .npz the names and shapes of a dozen arrays."""


def reply_size(
    body: EmbedRequest, form: str, heading: Heading, tokenized: Sequence[Tokenized], max_bytes: int
) -> int:
    """Return an upper estimate of the reply's bytes. Raises ServiceError when it is above `max_bytes`."""
    num_bytes = estimated_bytes(body, form, heading, tokenized)
    if num_bytes > max_bytes:
        message = f"expected a reply of at most {max_bytes} bytes, got a request for up to {num_bytes}"
        raise ServiceError(ErrorType.reply_too_large, f"{message}: {_advice(body, form, heading)}")
    return num_bytes


def tokens_bytes(tokenized: Sequence[Tokenized], beside_bytes: int) -> int:
    """Return an upper estimate of a JSON of tokens alone, with so many bytes beside each."""
    num_characters = sum(sum(tokens.ends) - sum(tokens.starts) for tokens in tokenized)
    num_tokens = sum(map(len, tokenized))
    return (
        num_tokens * (SPAN_BYTES + beside_bytes)
        + num_characters * CHARACTER_BYTES
        + INPUT_BYTES * len(tokenized)
    )


def estimated_bytes(body: EmbedRequest, form: str, heading: Heading, tokenized: Sequence[Tokenized]) -> int:
    """Return an upper estimate."""
    names = heading.names or [""]
    num_rows = _num_rows(body, tokenized) * len(names)
    vectors_bytes = num_rows * (heading.dimension * _value_bytes(body, form) + ROW_BYTES)
    names_bytes = sum(INPUT_BYTES + len(name) * CHARACTER_BYTES for name in names) * len(body.inputs)
    heading_bytes = FORM_BYTES + 2 * len(orjson.dumps(heading.document()))
    return math.ceil(vectors_bytes) + _text_bytes(body, tokenized) + names_bytes + heading_bytes


def _value_bytes(body: EmbedRequest, form: str) -> float:
    item_bytes = np.dtype(body.dtype).itemsize
    if form != JSON:
        return item_bytes
    return JSON_NUMBER_BYTES if body.encoding == "float" else item_bytes * 4 / 3


def _num_rows(body: EmbedRequest, tokenized: Sequence[Tokenized]) -> int:
    if body.spans is not None:
        return sum(map(len, body.spans))
    if body.pool == "token":
        return _num_tokens(tokenized)
    return sum(map(_num_words, body.inputs)) if body.pool == "word" else len(body.inputs)


def _num_tokens(tokenized: Sequence[Tokenized]) -> int:
    return sum(sum(tokens.visible) for tokens in tokenized)


def _num_words(text: Text) -> int:
    return sum(1 for _ in re.finditer(r"\S+", text)) if isinstance(text, str) else len(text)


def _text_bytes(body: EmbedRequest, tokenized: Sequence[Tokenized]) -> int:
    """Return the bytes of tokens, and of the words or spans of the rows."""
    num_characters = sum(sum(tokens.ends) - sum(tokens.starts) for tokens in tokenized)
    num_marks = 0
    if body.spans is not None:
        num_marks = sum(map(len, body.spans))
        num_characters += sum(end - start for spans in body.spans for start, end in spans)
    elif body.pool == "word":
        num_marks = _num_rows(body, tokenized)
        num_characters += sum(len(text) for text in body.inputs if isinstance(text, str))
    num_spans = _num_tokens(tokenized) + num_marks
    return num_spans * SPAN_BYTES + num_characters * CHARACTER_BYTES


def _advice(body: EmbedRequest, form: str, heading: Heading) -> str:
    """Return what would make the reply smaller."""
    ways = []
    if heading.names is not None:
        ways.append(f"fewer {'layers' if heading.choice is None else 'tasks'}")
    if form == JSON and body.encoding == "float":
        ways.append("base64 or a binary form (Accept)")
    elif body.dtype == "float32":
        ways.append("float16")
    if body.pool in ("token", "word"):
        ways.append("one row a sentence")
    return "send fewer or shorter inputs at once" + (f", or ask for {' or '.join(ways)}" if ways else "")

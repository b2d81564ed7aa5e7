"""The size of a reply is foreseen: never too small, and not by much too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import ServiceError
from service.mixes import Choice, Mix
from service.replies.accept import ARROW, FORMS, JSON, NPZ
from service.replies.answers import Heading, Result, answers, mark_name
from service.replies.arrow import arrow_parts
from service.replies.json_body import json_parts
from service.replies.npz import npz_parts
from service.replies.size import estimated_bytes, reply_size
from service.schemas import EmbedRequest, Text
from tests.service.fake_backend import FakeTokenizer

MIX = Mix((0.2, 0.3, 0.5))
TASKS = {"sense": MIX, "품사" * 100: MIX}
INPUTS: list[Text] = ["가나 다라 " * 50, "a \x00\x01 b", ["x-y-z", " ", "강"]]
STRINGS = [text for text in INPUTS if isinstance(text, str)]


def body_of(**fields: Any) -> EmbedRequest:
    return EmbedRequest(**{"inputs": STRINGS if "spans" in fields else INPUTS, **fields})


def encoded(body: EmbedRequest, choice: Choice, dimension: int) -> list[Result]:
    """Return values that are as long as JSON numbers can be."""
    tokenizer = FakeTokenizer()
    results = []
    for text in body.inputs:
        tokens = tokenizer.tokenize(text) if isinstance(text, str) else tokenizer.tokenize_words(text)
        shape = (len(tokens), dimension) if isinstance(choice, Mix) else (3, len(tokens), dimension)
        results.append((tokens, np.full(shape, -0.0000063184107, dtype=np.float32)))
    return results


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("choice", [MIX, None, TASKS])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dtype": "float16"},
        {"pool": "word"},
        {"pool": "sentence"},
        {"spans": [[[0, 300], [1, 2], [0, 300]], [[0, 5]]]},
        {"encoding": "base64"},
        {"encoding": "base64", "dtype": "float16"},
    ],
)
def test_it_is_an_upper_bound(form: str, choice: Choice, fields: dict[str, Any]) -> None:
    body = body_of(**fields)
    for dimension in (4, 1024):
        heading = Heading("enko", dimension, 3, choice)
        results = encoded(body, choice, dimension)
        told = answers(body, choice, results)
        marks = mark_name(body)
        if form == JSON:
            parts: Any = json_parts(heading, marks, told, body.encoding)
        elif form == ARROW:
            parts = arrow_parts(heading, marks, told, body.dtype)
        else:
            parts = npz_parts(heading, marks, body.inputs, told)
        actual = sum(map(len, parts))
        foreseen = estimated_bytes(body, form, heading, [tokens for tokens, _ in results])
        assert actual <= foreseen
        if dimension == 1024:
            assert foreseen < 1.3 * actual + 40_000


@pytest.mark.parametrize(
    ("form", "choice", "fields", "ways"),
    [
        (JSON, MIX, {}, ["base64 or a binary form (Accept)", "one row a sentence"]),
        (JSON, None, {"encoding": "base64"}, ["fewer layers", "float16", "one row a sentence"]),
        (ARROW, TASKS, {"dtype": "float16", "pool": "word"}, ["fewer tasks", "one row a sentence"]),
        (NPZ, MIX, {"pool": "sentence"}, ["float16"]),
        (NPZ, MIX, {"pool": "sentence", "dtype": "float16"}, []),
    ],
)
def test_the_refusal_says_what_to_do(
    form: str, choice: Choice, fields: dict[str, Any], ways: list[str]
) -> None:
    body = body_of(**fields)
    heading = Heading("enko", 1024, 3, choice)
    tokenized = [tokens for tokens, _ in encoded(body, choice, 1)]
    num_bytes = estimated_bytes(body, form, heading, tokenized)
    assert reply_size(body, form, heading, tokenized, num_bytes) == num_bytes
    with pytest.raises(ServiceError) as caught:
        reply_size(body, form, heading, tokenized, num_bytes - 1)
    assert (caught.value.type.name, caught.value.where) == ("reply_too_large", None)
    assert caught.value.message == (
        f"expected a reply of at most {num_bytes - 1} bytes, got a request for up to {num_bytes}: "
        "send fewer or shorter inputs at once" + (f", or ask for {' or '.join(ways)}" if ways else "")
    )

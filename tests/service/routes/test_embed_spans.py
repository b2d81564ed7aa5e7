"""POST /v1/embed: a row for each span of a string."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime, expected_vector
from tests.service.routes.asking import embed, refused


def test_spans_and_their_rows(client: httpx.Client) -> None:
    first, second = embed(client, "강에서 배를 탔다", "a", layer=0, spans=[[[4, 5], [2, 6]], []])[
        "embeddings"
    ]
    river, boat = expected_vector("강에서", 0, 3, 0), expected_vector("배를", 0, 3, 1)
    assert first["spans"] == [{"text": "배", "start": 4, "end": 5}, {"text": "서 배를", "start": 2, "end": 6}]
    assert first["vectors"] == [boat, np.mean([river, boat], axis=0).tolist()]
    assert (len(first["tokens"]), first["num_tokens"]) == (3, 3)
    assert (second["spans"], second["vectors"], second["num_tokens"]) == ([], [], 1)
    assert "words" not in first


def test_spans_of_all_layers_normalized(client: httpx.Client) -> None:
    (embedding,) = embed(client, "a b", layer="all", normalize=True, spans=[[[0, 3]]])["embeddings"]
    means = [
        np.mean([expected_vector("a", layer, 2, 0), expected_vector("b", layer, 2, 1)], axis=0)
        for layer in range(3)
    ]
    expected = [[mean / np.linalg.norm(mean)] for mean in means]
    np.testing.assert_allclose(embedding["vectors"], expected, rtol=1e-6)


def test_code_points_not_bytes_or_utf16_units(client: httpx.Client) -> None:
    (embedding,) = embed(client, "😀😀 b", layer=0, spans=[[[3, 4]]])["embeddings"]
    assert embedding["spans"] == [{"text": "b", "start": 3, "end": 4}]
    assert embedding["vectors"] == [expected_vector("b", 0, 2, 1)]


OUTSIDE = "expected a start before its end, both from 0 to 3, which is the length of the input, got "


@pytest.mark.parametrize(
    ("spans", "message", "where"),
    [
        ([], "expected a list of spans for each of the 2 inputs, got 0", "spans"),
        ([[[0, 1]]] * 3, "expected a list of spans for each of the 2 inputs, got 3", "spans"),
        ([[], [[0, 1], [0, 4]]], OUTSIDE + "[0, 4]", "spans[1][1]"),
        ([[], [[-1, 2]]], OUTSIDE + "[-1, 2]", "spans[1][0]"),
        ([[[2, 2]], []], OUTSIDE + "[2, 2]", "spans[0][0]"),
        ([[[2, 1]], []], OUTSIDE + "[2, 1]", "spans[0][0]"),
        ([[[0, 10**60]], []], OUTSIDE + f"[0, 1{'0' * 39}]", "spans[0][0]"),
        ([[[0]], []], "expected [start, end], got a list of 1", "spans[0][0]"),
        ([[[0, 1, 2]], []], "expected [start, end], got a list of 3", "spans[0][0]"),
        ([[[0, 1.0]], []], "expected a whole number, got the number 1.0", "spans[0][0][1]"),
        ([[[True, 2]], []], "expected a whole number, got true", "spans[0][0][0]"),
        ([[0, 1], []], "expected a list, got the number 0", "spans[0][0]"),
        ("all", 'expected a list, got the string "all"', "spans"),
        (
            [[[0, 1]], [[1, 2]]],
            "expected a span that touches a token, got one of characters that belong to none",
            "spans[1][0]",
        ),
    ],
)
def test_spans_that_are_refused(client: httpx.Client, spans: object, message: str, where: str) -> None:
    error = {"type": "invalid_request", "message": message, "where": where}
    assert refused(client, "a b", "c d", spans=spans) == (422, error)


def test_a_span_without_a_token_is_refused_before_anything_is_computed(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        assert refused(client, "a b", spans=[[[1, 2]]])[0] == 422
    assert runtime.batches == []


def test_spans_are_of_strings(client: httpx.Client) -> None:
    message = "expected spans of strings, got a list of words; its words get a row each with pool: word"
    error = {"type": "invalid_request", "message": message, "where": "inputs[1]"}
    assert refused(client, "a", ["a", "b"], spans=[[[0, 1]], []]) == (422, error)


@pytest.mark.parametrize("pool", ["token", "word", "sentence"])
def test_spans_stand_instead_of_pool(client: httpx.Client, pool: str) -> None:
    error = {"type": "invalid_request", "message": "expected at most one of pool and spans, got both"}
    assert refused(client, "a", pool=pool, spans=[[[0, 1]]]) == (422, {**error, "where": "spans"})

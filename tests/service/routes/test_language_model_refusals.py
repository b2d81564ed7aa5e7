"""POST /v1/score and /v1/cloze: what is refused, with which status and words, and that the server goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.service.conftest import serving_runtime
from tests.service.fake_backend import FakeRuntime, number
from tests.service.routes.asking import ask


def refused(client: httpx.Client, path: str, **fields: object) -> tuple[int, str, str, str | None]:
    """Return a refusal's status, type, message and place."""
    reply = client.post(path, json=fields)
    error: dict[str, Any] = reply.json()["error"]
    assert error.keys() <= {"type", "message", "where"}
    return reply.status_code, error["type"], error["message"], error.get("where")


def goes_on(client: httpx.Client) -> None:
    ask(client, "/v1/score", inputs=["a"])
    ask(client, "/v1/cloze", text="a __", candidates=["b"])


@pytest.mark.parametrize(
    ("inputs", "message", "where"),
    [
        (["a", ""], "expected at least one word, got an empty string", "inputs[1]"),
        ([["a", ""]], "expected a word, got an empty string", "inputs[0][1]"),
        ([" "], "expected text, got white space alone", "inputs[0]"),
        (["a", "_"], "expected text, got only characters that the tokenizer drops", "inputs[1]"),
        ([], "expected a list of at least 1, got a list of 0", "inputs"),
        ([1], "expected a string or a list, got the number 1", "inputs[0]"),
        ("a", 'expected a list, got the string "a"', "inputs"),
    ],
)
def test_inputs_that_cannot_be_scored(client: httpx.Client, inputs: object, message: str, where: str) -> None:
    assert refused(client, "/v1/score", inputs=inputs) == (422, "invalid_request", message, where)
    goes_on(client)


BAD_BLANK = "expected 0 <= start <= end <= 6, the length of the text, got "
ONE_BLANK = "expected one blank, a run of two or more underscores, got "


@pytest.mark.parametrize(
    ("fields", "message", "where"),
    [
        ({"text": "a _ b"}, ONE_BLANK + "none", "text"),
        ({"text": "__ ____"}, ONE_BLANK + "2: say which with `blank`", "text"),
        ({"blank": [3, 2]}, BAD_BLANK + "the number 3 and the number 2", "blank"),
        ({"blank": [0, 7]}, BAD_BLANK + "the number 0 and the number 7", "blank"),
        ({"blank": [-1, 2]}, BAD_BLANK + "the number -1 and the number 2", "blank"),
        ({"blank": [0, 10**99]}, BAD_BLANK + "the number 0 and the number 1" + "0" * 39, "blank"),
        ({"blank": [1, 2, 3]}, "expected [start, end], got a list of 3", "blank"),
        ({"blank": [1.5, 2]}, "expected a whole number, got the number 1.5", "blank[0]"),
        ({"blank": 3}, "expected a list, got the number 3", "blank"),
        ({"text": ["a", "__"]}, "expected a string, got a list of 2", "text"),
        ({"candidates": []}, "expected a list of at least 1, got a list of 0", "candidates"),
        ({"candidates": ["a", 1]}, "expected a string, got the number 1", "candidates[1]"),
        ({"candidates": ["a", ""]}, "expected text, got an empty string", "candidates[1]"),
        ({"candidates": [" "]}, "expected text, got white space alone", "candidates[0]"),
        (
            {"candidates": ["a", "_"]},
            "expected text, got only characters that the tokenizer drops",
            "candidates[1]",
        ),
        (
            {"candidates": ["a", "b", "a"]},
            "expected each candidate once, got candidates[0] again",
            "candidates[2]",
        ),
        ({"candidates": ["a"], "top": 3}, "expected at most one of candidates and top, got both", "top"),
        ({"top": 0}, "expected a number of at least 1, got the number 0", "top"),
        ({"top": 101}, "expected a number of at most 100, got the number 101", "top"),
        ({"top": "5"}, 'expected a whole number, got the string "5"', "top"),
        ({"k": 5}, "expected no such field: its name is unknown", "k"),
    ],
)
def test_requests_that_make_no_sense(
    client: httpx.Client, fields: dict[str, object], message: str, where: str
) -> None:
    request = {"text": "a ____", **fields}
    assert refused(client, "/v1/cloze", **request) == (422, "invalid_request", message, where)
    goes_on(client)


def test_a_whole_text_that_comes_to_nothing(client: httpx.Client) -> None:
    message = "expected text, got only characters that the tokenizer drops"
    assert refused(client, "/v1/cloze", text="__", candidates=["_"]) == (
        422,
        "invalid_request",
        message,
        "candidates[0]",
    )


@pytest.mark.parametrize(
    ("path", "fields"), [("/v1/score", {"inputs": ["a"]}), ("/v1/cloze", {"text": "__"})]
)
def test_an_unknown_model(client: httpx.Client, path: str, fields: dict[str, object]) -> None:
    status, type, message, where = refused(client, path, model="other", **fields)
    assert (status, type, where) == (422, "unknown_model", "model")
    assert message == 'expected "fake", got the string "other"'


@pytest.mark.parametrize(
    ("path", "fields", "type", "message", "where"),
    [
        (
            "/v1/score",
            {"inputs": ["a", "b", "c"]},
            "too_many_inputs",
            "expected at most 2 inputs, got 3",
            "inputs",
        ),
        (
            "/v1/score",
            {"inputs": ["a" * 13]},
            "input_too_long",
            "expected at most 12 characters, got 13",
            "inputs[0]",
        ),
        (
            "/v1/cloze",
            {"text": "__", "candidates": ["a", "b", "c"]},
            "too_many_inputs",
            "expected at most 2 candidates, got 3",
            "candidates",
        ),
        (
            "/v1/cloze",
            {"text": "a" * 11 + "__", "top": 1},
            "input_too_long",
            "expected at most 12 characters, got 13",
            "text",
        ),
        (
            "/v1/cloze",
            {"text": "a __", "candidates": ["b", "c" * 11]},
            "input_too_long",
            "expected at most 12 characters in the filled-in text, got 13",
            "candidates[1]",
        ),
    ],
)
def test_too_much(
    runtime: FakeRuntime, path: str, fields: dict[str, object], type: str, message: str, where: str
) -> None:
    with serving_runtime(runtime, max_inputs=2, max_characters=12) as client:
        assert refused(client, path, **fields) == (413, type, message, where)
        goes_on(client)


def test_more_tokens_than_the_queue_can_hold(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=100) as client:
        message = "expected at most 100 tokens in one request, got 102"
        inputs = ["a b c d e f g h i j"] * 8 + ["a b c d"]
        assert refused(client, "/v1/score", inputs=inputs) == (413, "too_many_tokens", message, None)
        # Refused before two hundred texts are tokenised, and before anything is asked of the engine.
        message = "expected at most 100 tokens in all filled-in texts, got 110 around the blanks"
        ran = len(runtime.batches)
        assert refused(client, "/v1/cloze", text="a __ b", top=1) == (413, "too_many_tokens", message, "text")
        candidates = [f"x{i}" for i in range(55)]
        assert refused(client, "/v1/cloze", text="a __ b", candidates=candidates) == (
            413,
            "too_many_tokens",
            message,
            "text",
        )
        assert len(runtime.batches) == ran
        message = "expected at most 100 tokens in one request, got 105"
        fields = {"text": "a __ b", "candidates": candidates[:21]}
        assert refused(client, "/v1/cloze", **fields) == (413, "too_many_tokens", message, "candidates")
        goes_on(client)


def test_more_tokens_in_proposals_than_the_queue_can_hold(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=30) as client:
        message = "expected at most 30 tokens in one request, got 36"
        assert refused(client, "/v1/cloze", text="__") == (413, "too_many_tokens", message, "text")
        goes_on(client)


@pytest.mark.parametrize("asked", [{"candidates": [f"x{i}" for i in range(55)]}, {"top": 1}])
def test_more_copies_of_the_text_than_memory_should_hold(runtime: FakeRuntime, asked: dict[str, Any]) -> None:
    with serving_runtime(runtime, max_filled_characters=1000) as client:
        text = "a" + " " * 18 + "__"  # one token, but 19 characters, in each of 55 texts
        message = "expected at most 1000 characters around the blanks of all filled-in texts, got 1045"
        assert refused(client, "/v1/cloze", text=text, **asked) == (413, "input_too_long", message, "text")
        goes_on(client)


def test_a_candidate_that_the_model_fails_on_is_named(runtime: FakeRuntime) -> None:
    runtime.raises_on = number("j")
    with serving_runtime(runtime) as client:
        for path, fields, where in (
            ("/v1/cloze", {"text": "a __ j"}, "text"),  # what fills it, the client did not write
            ("/v1/score", {"inputs": ["a", "j"]}, "inputs[1]"),
            ("/v1/cloze", {"text": "a __ b", "candidates": ["c", "d", "j"]}, "candidates[2]"),
        ):
            status, type, _, place = refused(client, path, **fields)
            assert (status, type, place) == (500, "engine_failed", where)
        goes_on(client)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/score", {"inputs": ["a"]}),
        ("/v1/cloze", {"text": "__"}),
        ("/v1/cloze", {"text": "__", "candidates": ["a"]}),
    ],
)
def test_a_deadline(runtime: FakeRuntime, path: str, fields: dict[str, object]) -> None:
    with serving_runtime(runtime) as client:
        runtime.may_run.clear()
        reply = client.post(path, json=fields, headers={"X-Request-Timeout-Ms": "50"})
        runtime.may_run.set()
        assert (reply.status_code, reply.json()["error"]["type"]) == (504, "deadline_exceeded")
        reply = client.post(path, json=fields, headers={"X-Request-Timeout-Ms": "soon"})
        assert (reply.status_code, reply.json()["error"]["where"]) == (422, "X-Request-Timeout-Ms")
        goes_on(client)

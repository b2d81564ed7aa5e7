"""POST /v1/embed: what is refused, with which status and words, and that the server goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, expected_vector, number
from tests.service.routes.asking import embed, refused


def test_a_full_queue_is_said_at_once_and_harms_nobody(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10) as client, ThreadPoolExecutor(2) as threads:
        runtime.may_run.clear()
        running = threads.submit(embed, client, "a")
        assert runtime.running.wait(PATIENCE_S)
        waiting = threads.submit(embed, client, "a b c d")  # 6 tokens with its boundaries
        wait_until(lambda: runtime.queue_depth() == 6)
        reply = client.post("/v1/embed", json={"inputs": ["a", "b"]})
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        assert reply.json()["error"] == {
            "type": "queue_full",
            "message": "expected at most 4 tokens beside the 6 that wait already, got 6; try again in 1 s",
        }
        runtime.may_run.set()
        assert waiting.result(PATIENCE_S)["embeddings"][0]["num_tokens"] == 4
        assert running.result(PATIENCE_S)["embeddings"][0]["num_tokens"] == 1
        assert embed(client, "a", "b")["embeddings"][0]["num_tokens"] == 1


def test_a_request_that_no_queue_could_hold(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10) as client:
        message = "expected at most 10 tokens in one request, got 12"
        assert refused(client, *"abcd") == (413, {"type": "too_many_tokens", "message": message})


def test_too_many_inputs(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, max_inputs=2) as client:
        embed(client, "a", "b")
        status, error = refused(client, "a", "b", "c")
    assert status == 413
    assert error == {
        "type": "too_many_inputs",
        "message": "expected at most 2 inputs, got 3",
        "where": "inputs",
    }


@pytest.mark.parametrize("long", ["가" * 11, ["가" * 5, "a" * 6]])
def test_an_input_that_is_too_long(runtime: FakeRuntime, long: object) -> None:
    with serving_runtime(runtime, max_characters=10) as client:
        embed(client, "가" * 10, ["가" * 5, "a" * 5])
        status, error = refused(client, "a", long)
    assert status == 413
    assert error == {
        "type": "input_too_long",
        "message": "expected at most 10 characters, got 11",
        "where": "inputs[1]",
    }


@pytest.mark.parametrize(
    ("inputs", "message", "where"),
    [
        (["a", ""], "expected at least one word, got an empty string", "inputs[1]"),
        ([[]], "expected at least one word, got an empty list", "inputs[0]"),
        ([" \t\n\u3000"], "expected text, got white space alone", "inputs[0]"),
        ([["a"], ["b", ""]], "expected a word, got an empty string", "inputs[1][1]"),
        (["a", "_ _"], "expected text, got only characters that the tokenizer drops", "inputs[1]"),
    ],
)
def test_nothing_to_embed(client: httpx.Client, inputs: list[object], message: str, where: str) -> None:
    assert refused(client, *inputs) == (
        422,
        {"type": "invalid_request", "message": message, "where": where},
    )
    embed(client, "a")


def test_a_word_of_white_space_is_a_word(client: httpx.Client) -> None:
    (embedding,) = embed(client, ["a", " "], pool="word", layer=0)["embeddings"]
    assert embedding["vectors"] == [expected_vector("a", 0, 2, 0), expected_vector(" ", 0, 2, 1)]


@pytest.mark.parametrize(
    ("fields", "type", "message", "where"),
    [
        (
            {"layer": 3},
            "invalid_request",
            'expected "top", "average", "all" or a layer from 0 to 2, got the number 3',
            "layer",
        ),
        (
            {"mix": {"weights": [1, 0]}},
            "invalid_request",
            "expected 3 numbers, one for each layer, got 2",
            "mix.weights",
        ),
        (
            {"mix": {"weights": [1, 0, 0]}, "layer": 0},
            "invalid_request",
            "expected at most one of task, tasks, mix and layer, got mix and layer",
            "layer",
        ),
        ({"model": "other"}, "unknown_model", 'expected "fake", got the string "other"', "model"),
        (
            {"dtype": "float16", "mix": {"weights": [1e6, 0, 0]}},
            "invalid_request",
            "expected values within 65504, which float16 can hold, got 9.7e+07: ask for float32",
            "dtype",
        ),
    ],
)
def test_what_the_model_cannot_do(
    client: httpx.Client, fields: dict[str, object], type: str, message: str, where: str
) -> None:
    assert refused(client, "a", **fields) == (422, {"type": type, "message": message, "where": where})
    embed(client, "a")


@pytest.mark.parametrize("fault", ["raises_on", "nan_on"])
def test_an_input_that_breaks_the_model_fails_alone(
    runtime: FakeRuntime, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving_runtime(runtime) as client, ThreadPoolExecutor(3) as threads:
        setattr(runtime, fault, number("bad"))
        runtime.may_run.clear()
        first = threads.submit(embed, client, "first")
        assert runtime.running.wait(PATIENCE_S)
        bad = threads.submit(refused, client, "a", "a bad")
        good = threads.submit(embed, client, "a b", layer=0)
        wait_until(lambda: runtime.queue_depth() == 3 + 4 + 4)
        runtime.may_run.set()
        status, error = bad.result(PATIENCE_S)
        assert status == 500
        assert error == {
            "type": "engine_failed",
            "message": "the model gave no usable vectors for this input",
            "where": "inputs[1]",
        }
        assert good.result(PATIENCE_S)["embeddings"][0]["vectors"][1] == expected_vector("b", 0, 2, 1)
        first.result(PATIENCE_S)
        embed(client, "still here")
        assert client.get("/readyz").status_code == 200
    assert "secret" not in caplog.text
    assert "Traceback" not in caplog.text

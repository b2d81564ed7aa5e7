"""TEI's paths as bytes on the wire: whole replies, every refusal, the errors of the server around them."""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, number, open_fake

BOUNDARY = {"id": 1, "text": "<s>", "special": True, "start": None, "stop": None}


def ask(client: httpx.Client, path: str, inputs: object, **fields: object) -> Any:
    reply = client.post(path, json={"inputs": inputs, **fields})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def refused(client: httpx.Client, path: str, **body: object) -> tuple[int, Any]:
    reply = client.post(path, json={"inputs": "a", **body})
    return reply.status_code, reply.json()


@pytest.mark.parametrize("path", ["/", "/embed"])
def test_embed(client: httpx.Client, path: str) -> None:
    # The mean over the tokens that are shown; over the layers 0, 1 and 2 too, whose mean is 1.
    means = [[64.0, 0.0, 1.0, 0.0], [64.5, 1.0, 1.0, 1.0]]
    plain = ask(client, path, ["@", "@ _ A"], normalize=False)
    np.testing.assert_allclose(plain, means, rtol=1e-6)
    scaled = [[value / math.hypot(*mean) for value in mean] for mean in means]
    np.testing.assert_allclose(ask(client, path, ["@", "@ _ A"]), scaled, rtol=1e-6)
    assert ask(client, path, "@") == ask(client, path, ["@"])


def test_vectors_are_those_of_the_native_endpoint(client: httpx.Client) -> None:
    texts = ["a b c", "강에서 _ 배를"]
    for normalize in (False, True):
        body = {"inputs": texts, "pool": "sentence", "normalize": normalize}
        native = client.post("/v1/embed", json=body).json()
        expected = [embedding["vectors"][0] for embedding in native["embeddings"]]
        assert ask(client, "/embed", texts, normalize=normalize) == expected
    native = client.post("/v1/embed", json={"inputs": texts}).json()
    assert ask(client, "/embed_all", texts) == [embedding["vectors"] for embedding in native["embeddings"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"truncate": True, "truncation_direction": "left"},
        {"truncate": False, "truncation_direction": "Right"},
        {"truncate": None, "truncation_direction": None, "prompt_name": None},
        {"dimensions": 4, "encoding_format": "base64"},
        {"dimensions": None, "encoding_format": None, "options": {"wait_for_model": True}},
    ],
)
def test_what_clients_send_beside_is_taken(client: httpx.Client, fields: dict[str, object]) -> None:
    assert ask(client, "/embed", "a b", **fields) == ask(client, "/embed", "a b")


def test_tokenize(client: httpx.Client) -> None:
    first, second = ask(client, "/tokenize", ["강에서 _ 배를", "x"])
    assert first == [
        BOUNDARY,
        {"id": 12, "text": "강에서", "special": False, "start": 0, "stop": 3},
        {"id": 13, "text": "배를", "special": False, "start": 6, "stop": 8},
        BOUNDARY,
    ]
    assert second == [BOUNDARY, {"id": 0, "text": "x", "special": False, "start": 0, "stop": 1}, BOUNDARY]
    assert ask(client, "/tokenize", "x", add_special_tokens=False) == [second[1:-1]]


def test_tokens_have_their_vectors(client: httpx.Client) -> None:
    text = "a _ b c"
    (tokens,) = ask(client, "/tokenize", text, add_special_tokens=False)
    (vectors,) = ask(client, "/embed_all", text)
    assert [token["text"] for token in tokens] == ["a", "b", "c"]
    np.testing.assert_allclose(
        [vector[0] for vector in vectors], [number(token) for token in "abc"], rtol=1e-6
    )


def test_similarity(client: httpx.Client) -> None:
    texts = ["@", "@ A", "@"]
    vectors = np.array(ask(client, "/embed", texts))
    inputs = {"source_sentence": texts[0], "sentences": texts[1:]}
    cosines = ask(client, "/similarity", inputs, parameters={"truncate": True, "prompt_name": None})
    np.testing.assert_allclose(cosines, vectors[1:] @ vectors[0], rtol=1e-6)
    assert cosines[1] == 1.0
    assert ask(client, "/similarity", inputs, parameters={}) == cosines


def test_info(client: httpx.Client) -> None:
    reply = client.get("/info").json()
    assert reply.pop("version")
    assert reply.pop("tokenization_workers") == 1
    assert reply == {
        "model_id": "fake",
        "model_sha": "0" * 64,
        "model_dtype": "float32",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": 32768 // 3,
        "max_input_length": 32766,
        "max_batch_tokens": 1024,
        "max_batch_requests": None,
        "max_client_batch_size": 2048,
        "auto_truncate": False,
        "sha": None,
        "docker_label": None,
    }


def test_the_limits_of_info_are_those_that_hold(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10, max_inputs=2) as client:
        info = client.get("/info").json()
        assert (info["max_input_length"], info["max_client_batch_size"]) == (8, 2)
        assert len(ask(client, "/embed_all", "a " * 8)[0]) == 8
        assert len(ask(client, "/tokenize", "a " * 8)[0]) == 10
        for path in ("/embed_all", "/tokenize"):
            message = "expected at most 10 tokens in one request, got 11"
            error = {"error": message, "error_type": "Validation"}
            assert refused(client, path, inputs="a " * 9) == (413, error)
        assert refused(client, "/embed", inputs=["a"] * 3) == (
            413,
            {"error": "inputs: expected at most 2 inputs, got 3", "error_type": "Validation"},
        )


def test_with_several_bundles_the_first_answers() -> None:
    settings = fake_settings(bundle=(Path("second"), Path("first")))
    with serving(create_app(settings, open_fake)) as client:
        assert client.get("/info").json()["model_id"] == "second"
        assert len(ask(client, "/embed", ["a", "b"])) == 2


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/embed", {"inputs": ""}, "inputs: expected at least one word, got an empty string"),
        ("/", {"inputs": ["a", " "]}, "inputs[1]: expected text, got white space alone"),
        (
            "/embed_all",
            {"inputs": "_"},
            "inputs: expected text, got only characters that the tokenizer drops",
        ),
        ("/tokenize", {"inputs": []}, "inputs: expected a string or a list of at least 1, got a list of 0"),
        (
            "/embed",
            {"inputs": [[1, 2]]},
            "inputs: expected a string or a list of strings, got token ids: send text",
        ),
        ("/embed", {"inputs": [["a", "b"]]}, "inputs[0]: expected a string, got a list of 2"),
        ("/embed", {"prompt_name": "query"}, 'prompt_name: expected null, got the string "query"'),
        ("/embed", {"dimensions": 2}, "dimensions: expected 4, the model's own, or none, got the number 2"),
        ("/embed", {"normalise": True}, "normalise: expected no such field: its name is unknown"),
        ("/embed", {"normalize": "yes"}, 'normalize: expected true or false, got the string "yes"'),
        (
            "/similarity",
            {"inputs": {"source_sentence": "", "sentences": ["a"]}},
            "inputs.source_sentence: expected at least one word, got an empty string",
        ),
        (
            "/similarity",
            {"inputs": {"source_sentence": "a", "sentences": ["a", "_"]}},
            "inputs.sentences[1]: expected text, got only characters that the tokenizer drops",
        ),
        (
            "/similarity",
            {"inputs": {"source_sentence": "a"}},
            "inputs.sentences: expected this field, got none",
        ),
    ],
)
def test_bad_input_is_422(client: httpx.Client, path: str, body: dict[str, object], error: str) -> None:
    assert refused(client, path, **body) == (422, {"error": error, "error_type": "Validation"})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/embed", b"{", 422),
        ("POST", "/", b'{"inputs": "\xff"}', 422),
        ("POST", "/similarity", b" " * 3_000_000, 413),
        ("GET", "/tokenize", b"", 405),
        ("POST", "/info", b"", 405),
    ],
)
def test_errors_outside_the_route_have_the_same_shape(
    client: httpx.Client, method: str, path: str, body: bytes, status: int
) -> None:
    reply = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status
    assert reply.json().keys() == {"error", "error_type"}
    assert reply.json()["error_type"] == "Validation"


def test_a_key_that_is_missing_and_a_server_that_stops() -> None:
    app = create_app(fake_settings(api_keys=("an-api-key-of-the-test",)), open_fake)
    with serving(app) as client:
        status, reply = refused(client, "/embed")
        assert (status, reply["error_type"]) == (401, "Validation")
        app.state.drain.begin()
        status, reply = refused(client, "/embed")
        assert (status, reply["error_type"]) == (503, "Unhealthy")


def test_a_full_queue(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10) as client, ThreadPoolExecutor(2) as threads:
        runtime.may_run.clear()
        running = threads.submit(ask, client, "/embed", "a")
        assert runtime.running.wait(PATIENCE_S)
        waiting = threads.submit(ask, client, "/embed", "a b c d")
        wait_until(lambda: runtime.queue_depth() == 6)
        reply = client.post("/embed", json={"inputs": ["a", "b"]})
        runtime.may_run.set()
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        assert reply.json()["error_type"] == "Overloaded"
        assert (len(running.result(PATIENCE_S)), len(waiting.result(PATIENCE_S))) == (1, 1)


@pytest.mark.parametrize("path", ["/tokenize", "/embed"])
def test_texts_that_wait_to_be_tokenised(path: str) -> None:
    app = create_app(fake_settings(queue_tokens=10), open_fake)
    may_end = threading.Event()
    with serving(app) as client:
        app.state.registry.texts.submit(80, lambda: may_end.wait(PATIENCE_S))
        reply = client.post(path, json={"inputs": "a"})
        may_end.set()
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        assert reply.json() == {
            "error": "expected room for 1 characters, "
            "got a server where 80 wait to be tokenised, of 80 that may",
            "error_type": "Overloaded",
        }
        assert client.get("/openapi.json").json()["paths"][path]["post"]["responses"]["429"]


def test_a_model_that_fails(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        runtime.nan_on = number("bad")
        status, reply = refused(client, "/similarity", inputs={"source_sentence": "a", "sentences": ["bad"]})
        assert (status, reply["error_type"]) == (500, "Backend")
        assert reply["error"].startswith("inputs.sentences[0]: ")
        ask(client, "/embed", "a")


def test_a_reply_that_would_be_too_large() -> None:
    # Each vector is counted with 4 x 17 bytes of numbers and 128 around them.
    with serving(create_app(fake_settings(max_reply_bytes=400), open_fake)) as client:
        assert len(ask(client, "/embed_all", "a _ b")[0]) == 2
        for path, inputs in (("/embed_all", "a b c"), ("/embed", ["a", "b", "c"])):
            message = "expected a reply of at most 400 bytes, got a request for up to 588"
            error = f"{message}: send fewer or shorter texts at once"
            assert refused(client, path, inputs=inputs) == (413, {"error": error, "error_type": "Validation"})

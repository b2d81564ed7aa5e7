"""OpenAI's paths as bytes on the wire: whole replies, every refusal, the errors of the server around them."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.errors import ErrorType, ServiceError
from service.mixes import Mix
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, number, open_fake


class Tasks:
    """Knows one task of every model: the top layer, doubled."""

    async def mix(self, model_sha256: str, name: str) -> Mix:
        if name == "broken":
            raise RuntimeError("somebody's text")
        if name == "nothing":
            return Mix((0.0, 0.0, 1.0), 0.0)
        if name != "pos:fine" or model_sha256 != "0" * 64:
            raise ServiceError(ErrorType.unknown_task, f"expected a task, got {name}")
        return Mix((0.0, 0.0, 1.0), 2.0)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(create_app(fake_settings(), open_fake, mix_store=Tasks())) as client:
        yield client


def ask(client: httpx.Client, input: object, **fields: object) -> Any:
    reply = client.post("/v1/embeddings", json={"model": "fake", "input": input, **fields})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    return reply.json()


def refused(client: httpx.Client, **body: object) -> tuple[int, Any]:
    reply = client.post("/v1/embeddings", json={"model": "fake", "input": "a", **body})
    return reply.status_code, reply.json()["error"]


def unit(*values: float) -> list[float]:
    return [value / math.hypot(*values) for value in values]


def test_zeros_cannot_be_scaled_to_length_1_and_stay(client: httpx.Client) -> None:
    (embedding,) = ask(client, "a", model="fake:nothing")["data"]
    assert embedding["embedding"] == [0.0, 0.0, 0.0, 0.0]


def test_a_whole_reply(client: httpx.Client) -> None:
    reply = ask(client, ["@", "@ _ A"])
    # The mean over the tokens that are shown; over the layers 0, 1 and 2 too, whose mean is 1.
    expected = [unit(64, 0, 1, 0), unit(64.5, 1, 1, 1)]
    for embedding, vector in zip(reply["data"], expected, strict=True):
        np.testing.assert_allclose(embedding.pop("embedding"), vector, rtol=1e-6)
    assert reply == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0}, {"object": "embedding", "index": 1}],
        "model": "fake",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_every_part_of_the_work_is_timed(client: httpx.Client) -> None:
    reply = client.post("/v1/embeddings", json={"model": "fake", "input": "a"})
    parts = [part.partition(";dur=") for part in reply.headers["server-timing"].split(", ")]
    assert [name for name, _, _ in parts] == ["tokenize", "queue", "compute", "serialize"]
    assert all(float(milliseconds) > 0 for _, _, milliseconds in parts)


def test_base64_is_the_same_floats(client: httpx.Client) -> None:
    texts = ["@", "a b c", "강에서"]
    floats = ask(client, texts, encoding_format="float")
    encoded = ask(client, texts, encoding_format="base64")
    for one, other in zip(floats["data"], encoded["data"], strict=True):
        vector = np.frombuffer(base64.b64decode(other["embedding"]), dtype="<f4")
        np.testing.assert_array_equal(vector, np.array(one["embedding"], dtype=np.float32))
    assert encoded["usage"] == floats["usage"]


def test_one_text_is_a_list_of_one(client: httpx.Client) -> None:
    assert ask(client, "a b") == ask(client, ["a b"])


def test_vectors_are_those_of_the_native_endpoint(client: httpx.Client) -> None:
    texts = ["a b c", "강에서 _ 배를"]
    native = client.post(
        "/v1/embed", json={"inputs": texts, "pool": "sentence", "normalize": True, "layer": "average"}
    ).json()
    reply = ask(client, texts)
    for one, other in zip(native["embeddings"], reply["data"], strict=True):
        assert one["vectors"] == [other["embedding"]]


def test_a_task_chooses_the_mix(client: httpx.Client) -> None:
    reply = ask(client, "@", model="fake:pos:fine")
    np.testing.assert_allclose(reply["data"][0]["embedding"], unit(64, 0, 2, 0), rtol=1e-6)
    assert reply["model"] == "fake:pos:fine"


def test_what_clients_send_beside_is_taken(client: httpx.Client) -> None:
    assert ask(client, "a", user="somebody", dimensions=4) == ask(client, "a")
    assert ask(client, "a", user=None, dimensions=None, encoding_format=None) == ask(client, "a")


@pytest.mark.parametrize("input", [[1, 2], [[1, 2], [3]], [5]])
def test_token_ids_are_refused_with_the_way_out(client: httpx.Client, input: object) -> None:
    status, error = refused(client, input=input)
    assert (status, error["type"], error["param"], error["code"]) == (
        400, "invalid_request_error", "input", None,
    )  # fmt: skip
    assert "check_embedding_ctx_length=False" in error["message"]


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"input": ""}, "expected at least one word, got an empty string", "input"),
        ({"input": ["a", ""]}, "expected at least one word, got an empty string", "input[1]"),
        ({"input": " \n"}, "expected text, got white space alone", "input"),
        ({"input": "_"}, "expected text, got only characters that the tokenizer drops", "input"),
        ({"input": ["a", "_"]}, "expected text, got only characters that the tokenizer drops", "input[1]"),
        ({"input": []}, "expected a string or a list of at least 1, got a list of 0", "input"),
        ({"input": 5}, "expected a string or a list, got the number 5", "input"),
        ({"input": ["a", 5]}, "expected a string, got the number 5", "input[1]"),
        ({"model": None}, "expected a string, got null", "model"),
        ({"dimensions": 3}, "expected 4, the model's own, or none, got the number 3", "dimensions"),
        (
            {"encoding_format": "hex"},
            "expected 'float' or 'base64', got the string \"hex\"",
            "encoding_format",
        ),
        ({"input_type": "query"}, "expected no such field: its name is unknown", "input_type"),
    ],
)
def test_bad_input_is_400(client: httpx.Client, body: dict[str, object], message: str, param: str) -> None:
    assert refused(client, **body) == (
        400,
        {"message": message, "type": "invalid_request_error", "param": param, "code": None},
    )


def test_a_model_is_required(client: httpx.Client) -> None:
    reply = client.post("/v1/embeddings", json={"input": "a"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("model", ["gpt", "fake:", "fake:sense", "fak"])
def test_an_unknown_model_or_task_is_404(client: httpx.Client, model: str) -> None:
    status, error = refused(client, model=model)
    assert (status, error["type"], error["code"]) == (404, "invalid_request_error", "model_not_found")
    reply = client.get(f"/v1/models/{model}")
    assert (reply.status_code, reply.json()["error"]) == (404, error)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/embeddings", b"{", 400, None),
        ("POST", "/v1/embeddings", b'{"input": "\xff"}', 400, None),
        ("POST", "/v1/embeddings", b" " * 3_000_000, 413, "body_too_large"),
        ("GET", "/v1/embeddings", b"", 405, "method_not_supported"),
        ("DELETE", "/v1/models/fake", b"", 405, "method_not_supported"),
        ("POST", "/v1/embeddings/x", b"", 404, "unknown_url"),
    ],
)
def test_errors_outside_the_route_have_the_same_shape(
    client: httpx.Client, method: str, path: str, body: bytes, status: int, code: str | None
) -> None:
    reply = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status
    error = reply.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


def test_a_mistake_of_the_server_and_one_that_stops(client: httpx.Client) -> None:
    status, error = refused(client, model="fake:broken")
    assert (status, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "somebody" not in error["message"]
    app = create_app(fake_settings(), open_fake)
    with serving(app) as stopping:
        app.state.drain.begin()
        status, error = refused(stopping)
    assert (status, error["type"], error["code"]) == (503, "server_error", "not_ready")


def test_another_media_type(client: httpx.Client) -> None:
    body = '{"model": "fake", "input": "a"}'
    reply = client.post("/v1/embeddings", content=body, headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")
    charset = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/v1/embeddings", content=body, headers=charset).status_code == 200


def test_a_deadline(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        runtime.may_run.clear()
        reply = client.post(
            "/v1/embeddings",
            json={"model": "fake", "input": "a"},
            headers={"X-Request-Timeout-Ms": "20"},
        )
        runtime.may_run.set()
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_full_queue_and_one_that_is_too_small(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10) as client, ThreadPoolExecutor(2) as threads:
        runtime.may_run.clear()
        running = threads.submit(ask, client, "a")
        assert runtime.running.wait(PATIENCE_S)
        waiting = threads.submit(ask, client, "a b c d")
        wait_until(lambda: runtime.queue_depth() == 6)
        reply = client.post("/v1/embeddings", json={"model": "fake", "input": ["a", "b"]})
        runtime.may_run.set()
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "1")
        error = reply.json()["error"]
        assert (error["type"], error["code"]) == ("tokens", "rate_limit_exceeded")
        assert running.result(PATIENCE_S)["usage"]["prompt_tokens"] == 1
        assert waiting.result(PATIENCE_S)["usage"]["prompt_tokens"] == 4
        status, error = refused(client, input=list("abcd"))
        assert (status, error["code"]) == (413, "too_many_tokens")


def test_a_model_that_fails(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        runtime.nan_on = number("bad")
        status, error = refused(client, input=["a", "bad"])
        assert (status, error["type"], error["param"], error["code"]) == (
            500, "server_error", "input[1]", "engine_failed",
        )  # fmt: skip
        ask(client, "a")


def test_models(client: httpx.Client) -> None:
    listing = client.get("/v1/models").json()
    (model,) = listing["data"]
    created = model.pop("created")
    assert isinstance(created, int)
    assert created > 1_500_000_000
    assert listing == {"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "polyseme"}]}
    for name in ("fake", "fake:pos:fine"):
        described = client.get(f"/v1/models/{name}").json()
        assert described == {"id": name, "object": "model", "created": created, "owned_by": "polyseme"}


def test_a_bundle_whose_name_has_a_colon() -> None:
    settings = fake_settings(bundle=(Path("fake"), Path("fake:v2")))
    with serving(create_app(settings, open_fake, mix_store=Tasks())) as client:
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["fake", "fake:v2"]
        assert ask(client, "@", model="fake:v2") == {**ask(client, "@"), "model": "fake:v2"}
        reply = ask(client, "@", model="fake:v2:pos:fine")
        np.testing.assert_allclose(reply["data"][0]["embedding"], unit(64, 0, 2, 0), rtol=1e-6)


def test_a_reply_that_would_be_too_large() -> None:
    # Each vector is counted with 22 bytes of base64, or 4 x 17 of numbers, and 128 around them.
    with serving(create_app(fake_settings(max_reply_bytes=300), open_fake)) as client:
        ask(client, ["a", "b"], encoding_format="base64")
        for texts, encoding in ((["a", "b"], "float"), (["a", "b", "c"], "base64")):
            status, error = refused(client, input=texts, encoding_format=encoding)
            assert (status, error["code"]) == (413, "reply_too_large")

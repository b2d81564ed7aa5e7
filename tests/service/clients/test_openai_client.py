"""The `openai` package as its users run it, told nothing but the address: vectors, errors, retries."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from service.app import create_app
from tests.patience import PATIENCE_S
from tests.service.clients.conftest import TEXTS, address, sentence_vectors
from tests.service.conftest import fake_settings, serving, serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, number, open_fake


def connected(client: httpx.Client, path: str = "/v1", **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=address(client, path), **{"api_key": "none", "max_retries": 0, **options})


def rows(reply: Any) -> np.ndarray[Any, Any]:
    return np.array([item.embedding for item in reply.data], dtype=np.float32)


def test_a_list_in_both_encodings(client: httpx.Client) -> None:
    expected = sentence_vectors(client, *TEXTS)
    with connected(client) as ai:
        by_default = ai.embeddings.create(model="tiny", input=TEXTS)  # base64, decoded by the client
        floats = ai.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
        raw = ai.embeddings.create(model="tiny", input=TEXTS, encoding_format="base64")
    np.testing.assert_array_equal(rows(by_default), expected)
    np.testing.assert_array_equal(rows(floats), expected)
    assert all(isinstance(item.embedding, str) for item in raw.data)
    assert [item.index for item in by_default.data] == [0, 1, 2, 3]
    assert by_default.model == "tiny"
    native = client.post("/v1/embed", json={"inputs": TEXTS}).json()
    num_tokens = sum(embedding["num_tokens"] for embedding in native["embeddings"])
    assert (by_default.usage.prompt_tokens, by_default.usage.total_tokens) == (num_tokens, num_tokens)


def test_one_string_and_every_option(client: httpx.Client) -> None:
    with connected(client) as ai:
        reply = ai.embeddings.create(model="tiny", input=TEXTS[0], dimensions=32, user="somebody")
    np.testing.assert_array_equal(rows(reply), sentence_vectors(client, TEXTS[0]))
    assert np.linalg.norm(rows(reply)[0]) == pytest.approx(1, abs=1e-6)


def test_the_async_client(client: httpx.Client) -> None:
    async def embed() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=address(client, "/v1"), api_key="none") as ai:
            return await asyncio.gather(*(ai.embeddings.create(model="tiny", input=text) for text in TEXTS))

    replies = asyncio.run(embed())
    expected = sentence_vectors(client, *TEXTS)
    np.testing.assert_allclose(np.concatenate(list(map(rows, replies))), expected, rtol=0, atol=1e-6)


def test_models(client: httpx.Client) -> None:
    with connected(client) as ai:
        (model,) = ai.models.list()
        assert ai.models.retrieve("tiny") == model
        assert (model.id, model.object, model.owned_by) == ("tiny", "model", "polyseme")
        with pytest.raises(openai.NotFoundError) as caught:
            ai.models.retrieve("gpt")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "expected", "code", "param"),
    [
        ({"input": ""}, openai.BadRequestError, None, "input"),
        ({"input": []}, openai.BadRequestError, None, "input"),
        ({"input": [[1, 2]]}, openai.BadRequestError, None, "input"),
        ({"dimensions": 8}, openai.BadRequestError, None, "dimensions"),
        ({"extra_body": {"input_type": "query"}}, openai.BadRequestError, None, "input_type"),
        ({"model": "gpt"}, openai.NotFoundError, "model_not_found", "model"),
        ({"model": "tiny:pos"}, openai.NotFoundError, "model_not_found", "model"),
        ({"input": "a " * 100_001}, openai.APIStatusError, "input_too_long", "input"),
    ],
)
def test_errors_are_its_own_exceptions(
    client: httpx.Client, fields: dict[str, Any], expected: type[Exception], code: str | None, param: str
) -> None:
    with connected(client) as ai, pytest.raises(openai.APIStatusError) as caught:
        ai.embeddings.create(**{"model": "tiny", "input": "a", **fields})
    assert type(caught.value) is expected
    assert (caught.value.type, caught.value.code, caught.value.param) == (
        "invalid_request_error",
        code,
        param,
    )
    assert "expected" in caught.value.message


def test_a_wrong_address_and_a_wrong_key(client: httpx.Client) -> None:
    with connected(client, "/v1/embeddings") as ai:
        with pytest.raises(openai.NotFoundError) as caught:
            ai.embeddings.create(model="tiny", input="a")
        assert caught.value.code == "unknown_url"
    key = "an-api-key-of-the-test"
    with serving(create_app(fake_settings(api_keys=(key,)), open_fake)) as guarded:
        with connected(guarded) as ai, pytest.raises(openai.AuthenticationError) as refused:
            ai.embeddings.create(model="fake", input="a")
        assert refused.value.code == "invalid_api_key"
        with connected(guarded, api_key=key) as ai:
            assert len(ai.embeddings.create(model="fake", input="a").data) == 1


def test_a_model_that_fails(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client, connected(client) as ai:
        runtime.nan_on = number("bad")
        with pytest.raises(openai.InternalServerError) as caught:
            ai.embeddings.create(model="fake", input=["a", "bad"])
        assert (caught.value.type, caught.value.code, caught.value.param) == (
            "server_error", "engine_failed", "input[1]",
        )  # fmt: skip


def test_a_full_queue_is_retried_after_the_time_it_says(runtime: FakeRuntime) -> None:
    answers: list[tuple[int, float]] = []  # status and time of each

    def note(response: Any) -> None:
        answers.append((response.status_code, time.monotonic()))
        runtime.may_run.set()  # the engine gets on with it while the client waits

    with serving_runtime(runtime, queue_tokens=10) as client, ThreadPoolExecutor(2) as threads:
        runtime.may_run.clear()
        threads.submit(client.post, "/v1/embed", json={"inputs": ["a"]})
        assert runtime.running.wait(PATIENCE_S)
        threads.submit(client.post, "/v1/embed", json={"inputs": ["a b c d"]})
        wait_until(lambda: runtime.queue_depth() == 6)
        with connected(client) as ai, pytest.raises(openai.RateLimitError) as caught:
            ai.embeddings.create(model="fake", input=["a", "b"])
        assert (caught.value.type, caught.value.code) == ("tokens", "rate_limit_exceeded")
        assert caught.value.response.headers["retry-after"] == "1"
        hooks = openai.DefaultHttpxClient(event_hooks={"response": [note]})
        with connected(client, max_retries=2, http_client=hooks) as ai:
            reply = ai.embeddings.create(model="fake", input=["a", "b"])
    assert len(reply.data) == 2
    assert [status for status, _ in answers] == [429, 200]
    assert answers[1][1] - answers[0][1] >= 1  # by itself it would have waited half a second

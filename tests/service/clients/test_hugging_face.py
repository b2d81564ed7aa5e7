"""`huggingface_hub`'s InferenceClient as its users run it, told nothing but the address."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.patience import PATIENCE_S
from tests.service.clients.conftest import TEXTS, address, sentence_vectors
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime


@pytest.mark.parametrize("path", ["", "/", "/embed"])
def test_feature_extraction(client: httpx.Client, path: str) -> None:
    hub = InferenceClient(base_url=address(client, path))
    vectors = hub.feature_extraction(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, 32)
    np.testing.assert_array_equal(vectors, sentence_vectors(client, *TEXTS))
    np.testing.assert_array_equal(hub.feature_extraction(TEXTS[0]), sentence_vectors(client, TEXTS[0]))


@pytest.mark.parametrize(
    "options",
    [
        {"normalize": True, "truncate": True},
        {"normalize": True, "truncate": True, "truncation_direction": "left"},
        {"dimensions": 32},
        {"encoding_format": "base64"},
    ],
)
def test_its_options(client: httpx.Client, options: dict[str, Any]) -> None:
    hub = InferenceClient(base_url=address(client, ""))
    vectors = hub.feature_extraction(TEXTS, **options)
    np.testing.assert_array_equal(vectors, sentence_vectors(client, *TEXTS))


def test_without_normalizing(client: httpx.Client) -> None:
    vectors = InferenceClient(base_url=address(client, "")).feature_extraction(TEXTS, normalize=False)
    np.testing.assert_array_equal(vectors, sentence_vectors(client, *TEXTS, normalize=False))


def test_sentence_similarity(client: httpx.Client) -> None:
    hub = InferenceClient(base_url=address(client, "/similarity"))
    vectors = sentence_vectors(client, *TEXTS)
    cosines = hub.sentence_similarity(TEXTS[0], other_sentences=TEXTS[1:])
    np.testing.assert_allclose(cosines, vectors[1:] @ vectors[0], rtol=0, atol=1e-6)


def test_the_async_client(client: httpx.Client) -> None:
    async def extract() -> Any:
        async with AsyncInferenceClient(base_url=address(client, "")) as hub:
            return await hub.feature_extraction(TEXTS)

    np.testing.assert_array_equal(asyncio.run(extract()), sentence_vectors(client, *TEXTS))


def test_a_token_of_embed_all_is_one_of_tokenize(client: httpx.Client) -> None:
    """Neither has a method in the client; TEI's users ask with curl."""
    texts = [*TEXTS, "two  spaces\tand ㈜회사"]
    vectors = client.post("/embed_all", json={"inputs": texts}).json()
    listed = client.post("/tokenize", json={"inputs": texts}).json()
    for text, rows, tokens in zip(texts, vectors, listed, strict=True):
        assert [tokens[0]["text"], tokens[-1]["text"]] == ["<s>", "<s>"]
        assert len(rows) == len(tokens) - 2
        for token in tokens[1:-1]:
            assert text[token["start"] : token["stop"]] == token["text"]


def test_errors_say_what_was_wrong(client: httpx.Client) -> None:
    hub = InferenceClient(base_url=address(client, ""))
    with pytest.raises(HfHubHTTPError, match=r"inputs\[1\]: expected text, got white space alone") as caught:
        hub.feature_extraction(["a", " "])
    assert caught.value.response.status_code == 422
    with pytest.raises(HfHubHTTPError, match="prompt_name: expected null"):
        hub.feature_extraction("a", prompt_name="query")


def test_a_full_queue(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, queue_tokens=10) as client, ThreadPoolExecutor(2) as threads:
        runtime.may_run.clear()
        threads.submit(client.post, "/embed", json={"inputs": "a"})
        assert runtime.running.wait(PATIENCE_S)
        threads.submit(client.post, "/embed", json={"inputs": "a b c d"})
        wait_until(lambda: runtime.queue_depth() == 6)
        with pytest.raises(HfHubHTTPError) as caught:
            InferenceClient(base_url=address(client, "")).feature_extraction(["a", "b"])
        runtime.may_run.set()
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.response.json()["error_type"] == "Overloaded"

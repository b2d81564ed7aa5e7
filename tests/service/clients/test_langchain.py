"""`langchain-openai` as its users run it, with the one flag that it needs, and what it reads without."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import tiktoken
import tiktoken.registry
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from tests.service.clients.conftest import TEXTS, address, sentence_vectors


def embeddings(client: httpx.Client, **options: Any) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        model="tiny", base_url=address(client, "/v1"), api_key=SecretStr("none"), max_retries=0, **options
    )


def test_text_is_embedded(client: httpx.Client) -> None:
    expected = sentence_vectors(client, *TEXTS)
    with openai.DefaultHttpxClient() as http:  # LangChain never closes one of its own
        langchain = embeddings(client, http_client=http, check_embedding_ctx_length=False)
        documents, query = langchain.embed_documents(TEXTS), langchain.embed_query(TEXTS[2])
    np.testing.assert_array_equal(np.array(documents, dtype=np.float32), expected)
    np.testing.assert_allclose(query, expected[2], rtol=0, atol=1e-6)


def test_text_is_embedded_by_the_async_client(client: httpx.Client) -> None:
    async def embed() -> list[list[float]]:
        async with openai.DefaultAsyncHttpxClient() as http:
            langchain = embeddings(client, http_async_client=http, check_embedding_ctx_length=False)
            return await langchain.aembed_documents(TEXTS)

    vectors = np.array(asyncio.run(embed()), dtype=np.float32)
    np.testing.assert_array_equal(vectors, sentence_vectors(client, *TEXTS))


def test_token_ids_are_refused_with_the_name_of_the_flag(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It would load OpenAI's vocabulary from the network; one of single bytes gives ids just as well.
    single_bytes = tiktoken.Encoding(
        "cl100k_base",
        pat_str=".+",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "cl100k_base", single_bytes)
    refused = pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False")
    with openai.DefaultHttpxClient() as http, refused:
        embeddings(client, http_client=http).embed_documents(TEXTS)

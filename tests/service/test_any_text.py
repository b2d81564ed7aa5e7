"""The service's promise, over HTTP: whatever the text and its company, the same vectors and exact offsets.

Here every input is cut into slices of a few tokens and shares batches with what is asked at the same time;
alone and whole it has the same vectors.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.files import TOKENIZER_FILE, Precision
from model.tokenizer import SentencePieceTokenizer
from service.app import create_app
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, serving
from tests.service.test_end_to_end import AWKWARD, SENTENCES
from tests.service.tiny_bundle import write_tiny_bundle

TOLERANCE = 1e-5
SLICE_TOKENS = 7
MANY = 2000
"""Tokens of the longest text here, at least; a few hundred slices."""

Input = str | list[str]
Embedding = dict[str, Any]

characters = st.characters(exclude_categories=["Cs"])
hangul = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)
jamo = st.characters(min_codepoint=0x1100, max_codepoint=0x11FF)
# Emoji with their modifiers, and what joins them.
emoji = st.sampled_from("😀👍👩👧🏽\u200d\ufe0f\u20e3🇰🇷")
texts = st.one_of(
    st.text(characters, min_size=1, max_size=60),
    st.text(st.one_of(hangul, jamo, emoji, st.sampled_from(" \t\n.a")), min_size=1, max_size=40),
    st.sampled_from(SENTENCES + AWKWARD),
)
words = st.lists(st.text(characters, min_size=1, max_size=8), min_size=1, max_size=8)


@dataclass(frozen=True)
class Servers:
    """One bundle twice: with short slices, and whole with no other request beside."""

    tokenizer: SentencePieceTokenizer
    sliced: httpx.Client
    whole: httpx.Client
    threads: ThreadPoolExecutor
    known: dict[str, Embedding]  # of the texts that come again and again, alone and whole

    def alone(self, text: str) -> Embedding:
        if text not in self.known:
            (self.known[text],) = embed(self.whole, [text])
        return self.known[text]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("any_text") / "tiny", with_int8=True).folder


@pytest.fixture(scope="module", params=["float32", "int8"])
def servers(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Servers]:
    precision: Precision = request.param
    given = {"bundle": (bundle,), "precision": precision}
    sliced = create_app(fake_settings(**given, slice_tokens=SLICE_TOKENS, batch_tokens=64, cache_tokens=20))
    whole = create_app(fake_settings(**given, slice_tokens=100_000, batch_tokens=100_000, cache_tokens=0))
    tokenizer = SentencePieceTokenizer(bundle / TOKENIZER_FILE)
    with serving(sliced) as one, serving(whole) as other, ThreadPoolExecutor(4) as threads:
        yield Servers(tokenizer, one, other, threads, {})


def embed(client: httpx.Client, inputs: list[Input]) -> list[Embedding]:
    reply = client.post("/v1/embed", json={"inputs": inputs, "layer": "all"})
    assert reply.status_code == 200, reply.text
    embeddings: list[Embedding] = reply.json()["embeddings"]
    assert len(embeddings) == len(inputs)
    return embeddings


def assert_exact_offsets(input: Input, embedding: Embedding) -> None:
    """Tokens are in order, and each is the stretch of the text, or of its word, that it says."""
    for token in embedding["tokens"]:
        text = input if isinstance(input, str) else input[token["word"]]
        assert 0 <= token["start"] < token["end"] <= len(text)
        assert text[token["start"] : token["end"]] == token["text"]
    places = [(token.get("word") or 0, token["start"]) for token in embedding["tokens"]]
    assert places == sorted(places)


def assert_same(found: Embedding, alone: Embedding) -> None:
    assert found["tokens"] == alone["tokens"]
    np.testing.assert_allclose(found["vectors"], alone["vectors"], rtol=0, atol=TOLERANCE)


@settings(max_examples=60)
@example(requests=[[AWKWARD[0]], [AWKWARD[1], "배" * 30], [["강에서", "👨‍👩‍👧‍👦"]]])
@given(requests=st.lists(st.lists(st.one_of(texts, words), min_size=1, max_size=5), min_size=1, max_size=4))
def test_any_text_in_any_company_is_itself(servers: Servers, requests: list[list[Input]]) -> None:
    """Requests are asked at the same time; each of their inputs is then asked alone."""
    kept = [[input for input in request if has_tokens(servers, input)] for request in requests]
    kept = [request for request in kept if request]
    together = list(servers.threads.map(lambda request: embed(servers.sliced, request), kept))
    for request, embeddings in zip(kept, together, strict=True):
        for input, embedding in zip(request, embeddings, strict=True):
            assert_exact_offsets(input, embedding)
            (alone,) = embed(servers.whole, [input])
            assert_same(embedding, alone)


def has_tokens(servers: Servers, input: Input) -> bool:
    """White space and marks alone come to nothing; what is refused for it has a test of its own."""
    if isinstance(input, str):
        return bool(input.strip()) and any(servers.tokenizer.tokenize(input).visible)
    return any(servers.tokenizer.tokenize_words(input).visible)


@settings(max_examples=20)
@given(st.permutations(SENTENCES + AWKWARD), st.lists(st.integers(0, len(SENTENCES + AWKWARD)), max_size=4))
def test_any_order_and_any_grouping(servers: Servers, order: list[str], cuts: list[int]) -> None:
    bounds = [0, *sorted(cuts), len(order)]
    groups = [order[start:end] for start, end in itertools.pairwise(bounds) if start < end]
    together = servers.threads.map(lambda group: embed(servers.sliced, list(group)), groups)
    found = [embedding for embeddings in together for embedding in embeddings]
    for text, embedding in zip(order, found, strict=True):
        assert_exact_offsets(text, embedding)
        assert_same(embedding, servers.alone(text))


def test_a_document_in_hundreds_of_slices(servers: Servers) -> None:
    """Beside short requests, which run between its slices."""
    document = " ".join(SENTENCES + AWKWARD)
    document *= MANY // len(servers.tokenizer.tokenize(document)) + 1
    long = servers.threads.submit(embed, servers.sliced, [document, "배"])
    short = servers.threads.map(lambda text: embed(servers.sliced, [text]), SENTENCES)
    for text, (embedding,) in zip(SENTENCES, short, strict=True):
        assert_same(embedding, servers.alone(text))
    found, _ = long.result(PATIENCE_S)
    assert found["num_tokens"] >= MANY
    assert_exact_offsets(document, found)
    assert_same(found, *embed(servers.whole, [document]))

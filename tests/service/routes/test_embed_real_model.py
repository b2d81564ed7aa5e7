"""POST /v1/embed with a real, tiny model: forms, spans and learned mixes agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.engine.backend import open_backend
from service.mixes import Mix
from service.replies.accept import ARROW, JSON, NPZ
from tests.service.conftest import fake_settings, serving
from tests.service.given_mixes import GivenMixes
from tests.service.routes.reading import READERS, Told
from tests.service.tiny_bundle import write_tiny_bundle

INPUTS = [
    "She sat on the bank of the river.",
    ["강에서", "배를", " ", "👨‍👩‍👧‍👦"],
    "배가 고프다, cafe\u0301 ﬁn",
    "a",
]
STRINGS = [text for text in INPUTS if isinstance(text, str)]
MIXES = {"sense": Mix((0.2, -1.0, 3.0), 0.5), "pos": Mix((0.0, 0.0, 1.0))}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
    store = GivenMixes(bundle.manifest.sha256, MIXES)
    with serving(create_app(fake_settings(bundle=(bundle.folder,)), open_backend, store)) as client:
        yield client


def ask(client: httpx.Client, form: str = JSON, **body: Any) -> Told:
    reply = client.post("/v1/embed", json={"inputs": INPUTS, **body}, headers={"Accept": form})
    assert reply.status_code == 200, reply.text
    return READERS[form](reply.content)


def close(one: Told, other: Told, atol: float = 1e-5) -> None:
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left["rows"], right["rows"], rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("fields", [{}, {"layer": "all", "pool": "word"}, {"tasks": ["sense", "pos"]}])
def test_every_form_has_the_same_tokens_and_values(
    client: httpx.Client, dtype: str, fields: dict[str, Any]
) -> None:
    numbers = ask(client, dtype=dtype, **fields)
    for other in (
        ask(client, encoding="base64", dtype=dtype, **fields),
        ask(client, ARROW, dtype=dtype, **fields),
        ask(client, NPZ, dtype=dtype, **fields),
    ):
        assert [told["tokens"] for told in other] == [told["tokens"] for told in numbers]
        close(other, numbers, atol=1e-6 if dtype == "float32" else 1e-3)


def test_a_learned_mix_is_the_same_by_itself_and_among_others(client: httpx.Client) -> None:
    together = ask(client, tasks=["sense", "pos"], pool="sentence_max")
    for i, (name, mix) in enumerate(MIXES.items()):
        alone = ask(client, task=name, pool="sentence_max")
        close([{"rows": told["rows"][i]} for told in together], alone)
        written = {"weights": list(mix.weights), "gamma": mix.gamma}
        close(ask(client, mix=written, pool="sentence_max"), alone)


def test_spans_that_are_the_words_have_their_rows(client: httpx.Client) -> None:
    words = ask(client, inputs=STRINGS, pool="word")
    spans = [[[word["start"], word["end"]] for word in told["marks"]] for told in words]
    marked = ask(client, inputs=STRINGS, spans=spans)
    close(marked, words)
    assert [told["marks"] for told in marked] == [told["marks"] for told in words]


def test_a_span_of_the_whole_text_is_the_sentence(client: httpx.Client) -> None:
    close(
        ask(client, inputs=STRINGS, spans=[[[0, len(text)]] for text in STRINGS]),
        ask(client, inputs=STRINGS, pool="sentence"),
    )

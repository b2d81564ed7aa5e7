"""The published checkpoints give the vectors of the programs that they were made for, from HTTP to HTTP.

What the originals answer to a first batch is what a service without state answers to every one. Their later
batches, which begin in the state that the one before has left, are nobody's reference here: of these fixtures
(allennlp/all_layers.npz and the published files from the second batch on, random/*/stateful.npz) only what
starts from zeros is compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.engine.backend import open_backend
from service.replies.accept import ARROW, JSON, NPZ
from tests.golden.parity_fixtures import (
    PARITY,
    TOLERANCE,
    Fixture,
    Floats,
    all_fixtures,
    published_token_vectors,
    published_top_layer,
)
from tests.service.conftest import fake_settings, serving
from tests.service.routes.reading import READERS, Told
from training.__main__ import main

FIXTURES = {fixture.name: fixture for fixture in all_fixtures()}
WITH_MIX = "a_proj_skip_hw2_relu"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Every fixture, imported by the command."""
    parent = tmp_path_factory.mktemp("bundles")
    for fixture in FIXTURES.values():
        arguments = ["import", fixture.format, *map(str, fixture.arguments), str(parent / fixture.name)]
        assert main(arguments) == 0
    return tuple(parent / name for name in FIXTURES)


@pytest.fixture(scope="module")
def client(folders: tuple[Path, ...]) -> Iterator[httpx.Client]:
    """One server of all of them."""
    with serving(create_app(fake_settings(bundle=folders), open_backend)) as client:
        yield client


@pytest.fixture(scope="module")
def slicing(folders: tuple[Path, ...]) -> Iterator[httpx.Client]:
    """The same, reading every input in slices of seven tokens."""
    with serving(create_app(fake_settings(bundle=folders, slice_tokens=7), open_backend)) as client:
        yield client


def ask(client: httpx.Client, form: str = JSON, **body: Any) -> Told:
    reply = client.post("/v1/embed", json=body, headers={"Accept": form})
    assert reply.status_code == 200, reply.text
    return READERS[form](reply.content)


def assert_as_expected(fixture: Fixture, told: dict[str, Any], i: int) -> None:
    """Every layer and value; a fixture that knows the top layer alone has one."""
    words, rows, expected = fixture.sentences[i], told["rows"], fixture.expected[i]
    assert [token["text"] for token in told["tokens"]] == words
    assert [(token["start"], token["end"], token["word"]) for token in told["tokens"]] == [
        (0, len(word), n) for n, word in enumerate(words)
    ]
    assert rows.shape == (3, *expected.shape[1:])
    np.testing.assert_allclose(rows[-len(expected) :], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", FIXTURES)
@pytest.mark.parametrize(
    ("form", "fields"), [(NPZ, {}), (ARROW, {}), (JSON, {"encoding": "base64"}), (JSON, {})]
)
def test_every_sentence_and_layer_in_a_batch_with_the_others(
    client: httpx.Client, name: str, form: str, fields: dict[str, str]
) -> None:
    fixture = FIXTURES[name]
    told = ask(client, form, model=name, inputs=fixture.sentences, layer="all", **fields)
    for i in fixture.expected:
        assert_as_expected(fixture, told[i], i)


@pytest.mark.parametrize("name", FIXTURES)
def test_every_sentence_alone(client: httpx.Client, name: str) -> None:
    fixture = FIXTURES[name]
    for i in fixture.expected:
        (told,) = ask(client, NPZ, model=name, inputs=[fixture.sentences[i]], layer="all")
        assert_as_expected(fixture, told, i)


@pytest.mark.parametrize("name", FIXTURES)
def test_every_sentence_in_slices(slicing: httpx.Client, name: str) -> None:
    fixture = FIXTURES[name]
    told = ask(slicing, NPZ, model=name, inputs=fixture.sentences, layer="all")
    for i in fixture.expected:
        assert_as_expected(fixture, told[i], i)


def test_the_vectors_that_were_published_with_allennlp(client: httpx.Client) -> None:
    """The others here were computed by running its code, these by its authors."""
    sentences = FIXTURES["allennlp"].sentences
    published = published_top_layer(PARITY / "allennlp")
    told = ask(client, model="allennlp", inputs=[sentences[i] for i in published], layer="top")
    for found, expected in zip(told, published.values(), strict=True):
        np.testing.assert_allclose(found["rows"], expected, rtol=0, atol=TOLERANCE)


def mixed(name: str) -> tuple[list[list[str]], dict[str, Any], list[Floats]]:
    """Return the sentences, the mix and the vectors of the fixture for scalar mixes."""
    folder = PARITY / "random" / WITH_MIX
    asked = json.loads((folder / "scalar_mix.json").read_text(encoding="utf-8"))
    sentences = [FIXTURES[WITH_MIX].sentences[i] for i in asked["batch"]]
    mix = {"scalars": asked["scalar_parameters"], "gamma": asked["gamma"]}
    with np.load(folder / "scalar_mix.npz") as arrays:
        return sentences, mix, [arrays[f"{name}_s{i:03}"] for i in asked["batch"]]


def test_a_scalar_mix(client: httpx.Client) -> None:
    sentences, mix, expected = mixed("plain")
    told = ask(client, model=WITH_MIX, inputs=sentences, mix=mix)
    for found, vectors in zip(told, expected, strict=True):
        np.testing.assert_allclose(found["rows"], vectors, rtol=0, atol=TOLERANCE)


def test_the_average_is_the_originals(client: httpx.Client) -> None:
    """ELMoForManyLangs' output_layer=-1, and ours when nothing is asked for."""
    fixture = FIXTURES["manylangs"]
    told = ask(client, model="manylangs", inputs=fixture.sentences)
    for i, expected in fixture.expected.items():
        np.testing.assert_allclose(told[i]["rows"], expected.mean(axis=0), rtol=0, atol=TOLERANCE)


def test_what_a_first_batch_of_a_stateful_program_gives(client: httpx.Client) -> None:
    """Its second batch begins where the first has ended, and is another by far more than the tolerance."""
    folder = PARITY / "random" / WITH_MIX
    batches = json.loads((folder / "stateful.json").read_text(encoding="utf-8"))["batches"]
    told = ask(client, NPZ, model=WITH_MIX, inputs=FIXTURES[WITH_MIX].sentences, layer="all")
    with np.load(folder / "stateful.npz") as arrays:
        off = [
            max(float(np.abs(told[i]["rows"] - arrays[f"b{b}_s{i:03}"]).max()) for i in batch)
            for b, batch in enumerate(batches)
        ]
    assert off[0] <= TOLERANCE
    assert min(off[1:]) > 1e-2


def test_token_vectors_of_a_whole_vocabulary(client: httpx.Client) -> None:
    """The originals take the words <S> and </S> for the boundaries. Here nobody's text does."""
    lines = (PARITY / "allennlp" / "vocab_test.txt").read_text(encoding="utf-8").split("\n")
    expected = published_token_vectors()
    (told,) = ask(client, model="allennlp", inputs=[lines], layer=0)
    vectors = told["rows"][:, :16]
    np.testing.assert_array_equal(vectors, told["rows"][:, 16:])
    for line, found, known in zip(lines, vectors, expected, strict=True):
        if line in ("<S>", "</S>"):
            assert np.abs(found - known).max() > 1e-2
        else:
            np.testing.assert_allclose(found, known, rtol=0, atol=TOLERANCE)

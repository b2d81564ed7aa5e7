"""POST /v1/embed: the same reply as JSON numbers, base64, Arrow and .npz, as `Accept` says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from service.app import create_app
from service.mixes import Mix
from service.replies.accept import ARROW, FORMS, JSON, NPZ
from service.replies.long_reply import PIECE_BYTES
from tests.service.conftest import fake_settings, serving, serving_runtime
from tests.service.fake_backend import FakeRuntime, open_fake
from tests.service.given_mixes import GivenMixes
from tests.service.routes.reading import READERS, from_arrow, from_json, from_npz

MIXES = {"sense": Mix((0.5, 0.25, 0.25), 2.0), "품사": Mix((0.0, 1.0, 0.0))}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving(create_app(fake_settings(), open_fake, mix_store=GivenMixes("0" * 64, MIXES))) as client:
        yield client


def ask(client: httpx.Client, form: str, body: dict[str, Any]) -> bytes:
    reply = client.post("/v1/embed", json=body, headers={"Accept": form})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == form
    assert int(reply.headers["content-length"]) == len(reply.content)
    return reply.content


# Characters whose numbers float16 can hold.
INPUTS = ["naïve ßé _ b", ["in-to", " ", "ŋ"], "a"]
STRINGS = ["naïve ßé _ b", "b", "a"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(
    "mixing",
    [
        {},
        {"layer": "all"},
        {"tasks": ["품사", "sense"]},
        {"task": "sense"},
        {"mix": {"weights": [1, -1, 0.5]}},
    ],
)
@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"pool": "word"},
        {"pool": "sentence"},
        {"pool": "sentence_max"},
        {"pool": "sentence_first"},
        {"pool": "sentence_last"},
        {"inputs": STRINGS, "spans": [[[0, 3], [4, 12]], [], [[0, 1]]]},
    ],
)
def test_every_form_says_the_same(
    client: httpx.Client, dtype: str, normalize: bool, mixing: dict[str, Any], rows: dict[str, Any]
) -> None:
    body = {"inputs": INPUTS, "dtype": dtype, "normalize": normalize, **mixing, **rows}
    numbers = from_json(ask(client, JSON, body))
    others = [
        from_json(ask(client, JSON, {**body, "encoding": "base64"})),
        from_arrow(ask(client, ARROW, body)),
        from_npz(ask(client, NPZ, body)),
    ]
    for other in others:
        for one, same in zip(numbers, other, strict=True):
            assert one["tokens"] == same["tokens"]
            assert same.get("marks", one["marks"]) == one["marks"]
            axes = one["rows"].shape[:1] if mixing in ({"layer": "all"}, {"tasks": ["품사", "sense"]}) else ()
            assert one["rows"].size == 0 or one["rows"].ndim == len(axes) + 2
            np.testing.assert_array_equal(one["rows"].reshape(same["rows"].shape).astype(dtype), same["rows"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mix", [{"weights": [1, 1, 1], "gamma": 0}, {"weights": [0, 0, 0]}])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_zeros_cannot_be_scaled_to_length_1_and_stay(
    client: httpx.Client, form: str, mix: dict[str, Any], dtype: str
) -> None:
    body = {"inputs": ["a b"], "mix": mix, "dtype": dtype, "normalize": True}
    for pool in ("token", "sentence", "sentence_max"):
        (told,) = READERS[form](ask(client, form, {**body, "pool": pool}))
        np.testing.assert_array_equal(told["rows"], np.zeros_like(told["rows"]))
        assert told["rows"].size == (8 if pool == "token" else 4)


def test_dtype_is_in_the_body(client: httpx.Client) -> None:
    table = pa.ipc.open_stream(ask(client, ARROW, {"inputs": ["a"], "dtype": "float16"})).read_all()
    assert table.schema.field("vectors").type == pa.list_(pa.list_(pa.float16(), 4))
    with np.load(io.BytesIO(ask(client, NPZ, {"inputs": ["a"], "dtype": "float16"}))) as archive:
        assert (archive["vectors"].dtype, archive["vectors"].shape) == (np.float16, (1, 4))


def test_json_unless_something_else_is_liked_better(client: httpx.Client) -> None:
    for accept in ("*/*", f"{ARROW};q=0.1, */*;q=0.5"):
        reply = client.post("/v1/embed", json={"inputs": ["a"]}, headers={"Accept": accept})
        assert reply.headers["content-type"] == JSON
        assert reply.json()["embeddings"][0]["num_tokens"] == 1


def test_a_form_that_there_is_not(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={"inputs": ["a"]}, headers={"Accept": "text/csv"})
    assert (reply.status_code, reply.headers["content-type"]) == (406, JSON)
    assert reply.json()["error"] == {
        "type": "not_acceptable",
        "message": f'expected one of {", ".join(FORMS)}, got the string "text/csv"',
        "where": "Accept",
    }


@pytest.mark.parametrize("form", [ARROW, NPZ])
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_an_encoding_is_for_json_alone(client: httpx.Client, form: str, encoding: str) -> None:
    body = {"inputs": ["a"], "encoding": encoding}
    reply = client.post("/v1/embed", json=body, headers={"Accept": form})
    assert (reply.status_code, reply.headers["content-type"]) == (422, JSON)
    assert reply.json()["error"] == {
        "type": "invalid_request",
        "message": f'expected no encoding with Accept: {form}, got the string "{encoding}"',
        "where": "encoding",
    }


@pytest.mark.parametrize("form", [ARROW, NPZ])
def test_errors_are_json_in_every_form(client: httpx.Client, form: str) -> None:
    body = {"inputs": ["a"], "dtype": "float16", "mix": {"weights": [1e6, 0, 0]}}
    reply = client.post("/v1/embed", json=body, headers={"Accept": form})
    assert (reply.status_code, reply.headers["content-type"]) == (422, JSON)
    assert reply.json()["error"]["where"] == "dtype"


@pytest.mark.parametrize("form", FORMS)
def test_a_reply_that_would_be_too_large_is_refused_before_anything_is_computed(
    runtime: FakeRuntime, form: str
) -> None:
    with serving_runtime(runtime, max_reply_bytes=60_000) as client:
        ask(client, form, {"inputs": ["a b"] * 10})
        batches = len(runtime.batches)
        body = {"inputs": ["a b"] * 2000, "layer": "all"}
        reply = client.post("/v1/embed", json=body, headers={"Accept": form})
        assert (reply.status_code, reply.headers["content-type"]) == (413, JSON)
        error = reply.json()["error"]
        assert error["type"] == "reply_too_large"
        assert error["message"].startswith(
            "expected a reply of at most 60000 bytes, got a request for up to "
        )
        assert "send fewer or shorter inputs at once, or ask for fewer layers or " in error["message"]
        assert len(runtime.batches) == batches


@pytest.mark.parametrize("form", FORMS)
def test_a_long_reply_is_whole(client: httpx.Client, form: str) -> None:
    """It leaves in several pieces."""
    sentences = ["a " * 100] * 320
    content = ask(client, form, {"inputs": sentences, "layer": "all"})
    assert len(content) > PIECE_BYTES
    read = READERS[form]
    (expected,) = read(ask(client, form, {"inputs": sentences[:1], "layer": "all"}))
    told = read(content)
    assert len(told) == 320
    for one in told:
        np.testing.assert_array_equal(one["rows"], expected["rows"])


def test_the_time_of_writing_is_told(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={"inputs": ["a b"] * 50}, headers={"Accept": ARROW})
    timing = dict(part.split(";dur=") for part in reply.headers["server-timing"].split(", "))
    assert float(timing["serialize"]) > 0

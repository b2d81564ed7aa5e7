"""POST /v1/embed: the same reply as JSON numbers, base64, Arrow and .npz, as `Accept` says."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from service.accept import ARROW, FORMS, JSON, NPZ
from service.app import create_app
from service.mixes import Mix
from tests.service.conftest import fake_settings, serving, serving_runtime
from tests.service.fake_backend import FakeRuntime, open_fake
from tests.service.given_mixes import GivenMixes

MIXES = {"sense": Mix((0.5, 0.25, 0.25), 2.0), "품사": Mix((0.0, 1.0, 0.0))}
Array = npt.NDArray[Any]


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


def from_json(content: bytes) -> list[dict[str, Any]]:
    """Return each input's tokens, marks and rows, the axis of layers or tasks first where there is one."""
    reply = json.loads(content)
    told = []
    for embedding in reply["embeddings"]:
        vectors = embedding["vectors"]
        values = list(vectors.values()) if isinstance(vectors, dict) else vectors
        if "shape" in embedding:
            dtype = np.dtype(embedding["dtype"])
            texts = values if isinstance(vectors, dict) else [values]
            parts = [
                np.frombuffer(base64.b64decode(text), dtype).reshape(embedding["shape"]) for text in texts
            ]
            rows = np.stack(parts) if isinstance(vectors, dict) else parts[0]
        else:
            rows = np.array(values)
        marks = embedding.get("words", embedding.get("spans"))
        told.append({"tokens": embedding["tokens"], "marks": marks, "rows": rows})
    return told


def from_arrow(content: bytes) -> list[dict[str, Any]]:
    table = pa.ipc.open_stream(content).read_all()
    columns = [name for name in table.schema.names if name.startswith("vectors")]
    told = []
    for row in table.to_pylist():
        tokens = [
            {name: value for name, value in token.items() if value is not None} for token in row["tokens"]
        ]
        parts = [np.array(row[name]) for name in columns]
        rows = parts[0] if columns == ["vectors"] else np.stack(parts)
        told.append({"tokens": tokens, "marks": row.get("words", row.get("spans")), "rows": rows})
    return told


def from_npz(content: bytes) -> list[dict[str, Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    text = arrays["token_text"].tobytes()
    texts = [text[start:end].decode() for start, end in pairwise(arrays["token_text_offsets"])]
    told = []
    for (first, last), (row, row_end) in zip(
        pairwise(arrays["token_offsets"]), pairwise(arrays["row_offsets"]), strict=True
    ):
        tokens = []
        for i in range(first, last):
            token = {"text": texts[i], "start": arrays["token_starts"][i], "end": arrays["token_ends"][i]}
            if arrays["token_words"][i] >= 0:
                token["word"] = arrays["token_words"][i]
            tokens.append(token)
        told.append({"tokens": tokens, "rows": arrays["vectors"][..., row:row_end, :]})
    return told


INPUTS = ["강에서 배를 _ 탔다", ["in-to", " ", "😀"], "a"]
STRINGS = ["강에서 배를 _ 탔다", "b", "a"]


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
    """It leaves in several pieces; 4 MB as .npz, 16 as JSON."""
    sentences = ["a " * 100] * 300
    content = ask(client, form, {"inputs": sentences, "layer": "all"})
    assert len(content) > 2 * 1024 * 1024
    read = {JSON: from_json, ARROW: from_arrow, NPZ: from_npz}[form]
    (expected,) = read(ask(client, form, {"inputs": sentences[:1], "layer": "all"}))
    told = read(content)
    assert len(told) == 300
    for one in told:
        np.testing.assert_array_equal(one["rows"], expected["rows"])


def test_the_time_of_writing_is_told(client: httpx.Client) -> None:
    reply = client.post("/v1/embed", json={"inputs": ["a b"] * 50}, headers={"Accept": ARROW})
    timing = dict(part.split(";dur=") for part in reply.headers["server-timing"].split(", "))
    assert float(timing["serialize"]) > 0

"""Tasks kept, moved and deleted, over HTTP with a real store; mixes learned elsewhere."""

from __future__ import annotations

import base64
import dataclasses
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.task_store.target import StoreTarget, postgresql
from tests.service.conftest import fake_settings, serving, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend, open_fake
from tests.service.postgresql_server import PostgreSQLServer
from tests.service.routes.asking import embed, refused
from tests.service.routes.task_client import CLASSIFY, SHA256, error_of, kept_in, learn, learning

MIX = {"kind": "classify", "scalars": [0.0, 0.0, 0.0], "gamma": 2.0}
EVEN = {"layer_weights": [pytest.approx(1 / 3)] * 3, "gamma": 2.0}


@pytest.fixture(scope="module")
def client(module_target: StoreTarget) -> Iterator[httpx.Client]:
    with learning(module_target) as client:
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Any:
    return learn(client, "letters", kind="classify", examples=CLASSIFY)


def test_a_mix_alone_is_embedded_with_and_predicts_nothing(client: httpx.Client) -> None:
    reply = client.put("/v1/tasks/mine", json=MIX)
    assert reply.status_code == 201
    entry = reply.json()
    assert {**entry, **EVEN} == entry | EVEN
    assert (entry["name"], entry["model"], entry["model_sha256"]) == ("mine", "fake", SHA256)
    assert (entry["weights"], entry["gamma"], entry["num_labels"]) == (EVEN["layer_weights"], 2.0, 0)
    found = embed(client, "a", task="mine")
    assert (found["layer_weights"], found["gamma"]) == (EVEN["layer_weights"], 2.0)
    refusal = client.post("/v1/tasks/mine/predict", json={"inputs": [{"text": "a"}]})
    assert error_of(refusal) == (409, "no_head", None)
    assert client.get("/v1/tasks/mine").json()["head"] is None


def test_a_change_is_used_at_once(client: httpx.Client) -> None:
    client.put("/v1/tasks/changing", json=MIX)
    assert embed(client, "a", task="changing")["gamma"] == 2.0
    assert client.put("/v1/tasks/changing", json={**MIX, "gamma": 3.0}).status_code == 200
    assert embed(client, "a", task="changing")["gamma"] == 3.0
    assert client.delete("/v1/tasks/changing").status_code == 204
    assert refused(client, "a", task="changing")[1]["type"] == "unknown_task"
    assert error_of(client.delete("/v1/tasks/changing")) == (404, "task_not_found", None)


def test_a_whole_task_is_moved(client: httpx.Client, document: Any, target: StoreTarget) -> None:
    inputs = {"inputs": [{"text": "b d"}, {"text": "w"}]}
    with learning(target) as other:
        assert other.put("/v1/tasks/letters", json=document).status_code == 201
        assert other.get("/v1/tasks/letters").json() == document
        replies = [each.post("/v1/tasks/letters/predict", json=inputs) for each in (client, other)]
        assert replies[0].status_code == 200
        assert replies[0].content == replies[1].content


def test_a_name_in_jamo_is_the_same(client: httpx.Client) -> None:
    in_jamo = unicodedata.normalize("NFD", "배")
    assert client.put("/v1/tasks/배", json={**MIX, "name": in_jamo}).status_code == 201
    assert embed(client, "a", task=in_jamo)["gamma"] == 2.0
    assert client.get(f"/v1/tasks/{in_jamo}").json()["name"] == "배"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"kind": "sing"}, (422, "invalid_request", "kind")),
        ({"scalars": [0.0, 0.0]}, (422, "invalid_request", "scalars")),
        ({"scalars": ["a", 0, 0]}, (422, "invalid_request", "scalars[0]")),
        ({"gamma": 1e9}, (422, "invalid_request", "gamma")),
        ({"name": "other"}, (422, "invalid_request", "name")),
        ({"name": 7}, (422, "invalid_request", "name")),
        ({"model": "other"}, (422, "unknown_model", "model")),
        ({"model_sha256": "1" * 64, "model": "other"}, (409, "wrong_model", "model_sha256")),
        ({"model_sha256": "1", "model": "other"}, (422, "invalid_request", "model_sha256")),
        ({"labels": ["a", "b"]}, (422, "invalid_request", "head")),
        ({"weights": [1.0]}, (422, "invalid_request", "weights")),
        ({"format_version": 9}, (422, "invalid_request", "format_version")),
    ],
)
def test_documents_that_are_refused(client: httpx.Client, change: Any, refusal: Any) -> None:
    assert error_of(client.put("/v1/tasks/x", json={**MIX, **change})) == refusal
    assert error_of(client.get("/v1/tasks/x")) == (404, "task_not_found", None)


def test_a_head_of_another_size(client: httpx.Client, document: Any) -> None:
    data = base64.b64encode(bytes(4 * 2 * 5)).decode()
    head = {**document["head"], "weight": {"dtype": "float32", "shape": [2, 5], "data": data}}
    reply = client.put("/v1/tasks/letters", json={**document, "head": head})
    assert error_of(reply) == (422, "invalid_request", "head")


def array(values: Any) -> dict[str, object]:
    data = np.array(values, dtype="<f4")
    return {"dtype": "float32", "shape": list(data.shape), "data": base64.b64encode(data.tobytes()).decode()}


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"bias": array([0.0, np.nan])}, "head.bias.data"),
        ({"bias": array([0.0, 0.0, 0.0])}, "head.bias.shape"),
        ({"bias": [0.0, 0.0]}, "head.bias"),
        ({"bias": {**array([0.0, 0.0]), "data": "not base64"}}, "head.bias.data"),
        ({"bias": {**array([0.0, 0.0]), "shape": [1 << 40]}}, "head.bias.shape"),
        ({"bias": {**array([0.0, 0.0]), "dtype": "float64"}}, "head.bias.dtype"),
        ({"method": "centroid"}, "head.method"),
    ],
)
def test_heads_that_are_refused(client: httpx.Client, document: Any, change: Any, where: str) -> None:
    head = {**document["head"], **change}
    reply = client.put("/v1/tasks/letters", json={**document, "head": head})
    assert error_of(reply) == (422, "invalid_request", where)
    assert client.get("/v1/tasks/letters").json() == document, "the task is as it was"


def test_a_head_of_another_kind(client: httpx.Client, document: Any) -> None:
    reply = client.put("/v1/tasks/letters", json={**document, "kind": "sense"})
    assert error_of(reply) == (422, "invalid_request", "head.method")


def test_a_document_that_is_too_large(target: StoreTarget) -> None:
    with learning(target, max_task_bytes=200) as client:
        reply = client.put("/v1/tasks/x", json={**MIX, "labels": ["a" * 200]})
        assert error_of(reply) == (413, "body_too_large", None)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b'{"kind": "classify", "scalars": [NaN, 0, 0]}', (422, "invalid_request", "scalars[0]")),
        (b"[]", (422, "invalid_request", None)),
        (b"{", (422, "malformed_body", None)),
    ],
)
def test_bodies_that_are_no_documents(client: httpx.Client, content: bytes, refusal: Any) -> None:
    reply = client.put("/v1/tasks/x", content=content, headers={"Content-Type": "application/json"})
    assert error_of(reply) == refusal


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"inputs": []}, (422, "invalid_request", "inputs")),
        ({"inputs": ["a"]}, (422, "invalid_request", "inputs[0]")),
        ({"inputs": [{"text": "a", "label": "low"}]}, (422, "invalid_request", "inputs[0].label")),
        ({"inputs": [{"text": ""}]}, (422, "invalid_request", "inputs[0].text")),
        ({"inputs": [{"text": "a"}, {"text": "_"}]}, (422, "invalid_request", "inputs[1]")),
        ({"inputs": [{"text": "a"}] * 2049}, (413, "too_many_inputs", "inputs")),
        ({"inputs": [{"text": "a"}], "model": "x"}, (422, "unknown_model", "model")),
    ],
)
def test_predictions_that_are_refused(client: httpx.Client, document: Any, body: Any, refusal: Any) -> None:
    assert error_of(client.post("/v1/tasks/letters/predict", json=body)) == refusal


def test_a_task_that_is_not_there(client: httpx.Client) -> None:
    reply = client.post("/v1/tasks/nothing/predict", json={"inputs": [{"text": "a"}]})
    assert error_of(reply) == (404, "task_not_found", None)
    status, error = refused(client, "a", task="nothing")
    message = 'expected the name of a task, got the string "nothing": GET /v1/tasks lists them'
    assert (status, error) == (422, {"type": "unknown_task", "message": message, "where": "task"})
    assert refused(client, "a", tasks=["a b"])[1]["where"] == "tasks[0]"


def test_a_reply_that_would_be_too_large(target: StoreTarget, document: Any) -> None:
    with learning(target, max_reply_bytes=100) as client:
        client.put("/v1/tasks/letters", json=document)
        reply = client.post("/v1/tasks/letters/predict", json={"inputs": [{"text": "a"}, {"text": "b"}]})
        assert error_of(reply) == (413, "reply_too_large", "inputs")


def test_a_task_of_another_model(target: StoreTarget, document: Any) -> None:
    """Two models share a store: each has its own tasks."""

    def open_other(folder: Path, *_: object) -> Any:
        sha256 = "1" * 64 if folder.name == "other" else SHA256
        return dataclasses.replace(fake_backend(folder.name), sha256=sha256)

    settings = fake_settings(**kept_in(target), bundle=(Path("fake"), Path("other")))
    with serving(create_app(settings, open_other)) as client:
        reply = client.put("/v1/tasks/x", json=MIX)
        assert error_of(reply) == (422, "unknown_model", "model")
        assert client.put("/v1/tasks/letters", json=document).status_code == 201
        assert client.put("/v1/tasks/mix", json={**MIX, "model": "other"}).status_code == 201
        assert refused(client, "a", model="other", task="letters")[0] == 409
        body = {"inputs": [{"text": "a"}]}
        assert client.post("/v1/tasks/letters/predict", json=body).status_code == 200
        reply = client.post("/v1/tasks/letters/predict", json={**body, "model": "other"})
        assert error_of(reply) == (409, "wrong_model", "model")
    with serving(create_app(fake_settings(**kept_in(target)), open_fake)) as client:
        status, error = refused(client, "a", task="mix")
        assert (status, error["type"], error["where"]) == (409, "wrong_model", "task")


def test_the_store_is_away(tmp_path: Path) -> None:
    """Embedding goes on, tasks answer 503, and all is well when the store is back."""
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the store's folder should be")
    runtime = FakeRuntime()
    settings = fake_settings(tasks_path=blocked / "tasks.sqlite")
    with serving(create_app(settings, lambda folder, *_: fake_backend(folder.name, runtime))) as client:
        assert embed(client, "a")["model"] == "fake"
        fit = {"kind": "classify", "examples": CLASSIFY}
        replies = [
            client.get("/v1/tasks"),
            client.get("/v1/tasks/x"),
            client.put("/v1/tasks/x", json=MIX),
            client.delete("/v1/tasks/x"),
            client.post("/v1/tasks/x/predict", json={"inputs": [{"text": "a"}]}),
            client.post("/v1/tasks/x/fit", json=fit),
            client.get("/v1/tasks/x/fit"),
            client.delete("/v1/tasks/x/fit"),
            client.post("/v1/embed", json={"inputs": ["a"], "task": "x"}),
            client.post("/v1/embeddings", json={"input": "a", "model": "fake:x"}),
        ]
        assert [reply.status_code for reply in replies] == [503] * len(replies)
        assert error_of(replies[0]) == (503, "store_unavailable", None)
        assert all(int(reply.headers["Retry-After"]) > 0 for reply in replies)
        assert str(tmp_path) not in "".join(reply.text for reply in replies)
        assert embed(client, "a")["model"] == "fake"
        assert client.get("/readyz").status_code == 200
        blocked.unlink()
        wait_until(lambda: client.put("/v1/tasks/x", json=MIX).status_code == 201)
        assert embed(client, "a", task="x")["gamma"] == 2.0


def test_postgresql_is_stopped_and_comes_back(postgresql_server: PostgreSQLServer) -> None:
    with learning(postgresql(postgresql_server.new_url())) as client:
        client.put("/v1/tasks/x", json=MIX)
        postgresql_server.stop()
        try:
            wait_until(lambda: client.get("/v1/tasks").status_code == 503)
            reply = client.get("/v1/tasks/x")
            assert error_of(reply) == (503, "store_unavailable", None)
            assert int(reply.headers["Retry-After"]) > 0
            assert embed(client, "a")["model"] == "fake"
        finally:
            postgresql_server.start()
        wait_until(lambda: client.get("/v1/tasks/x").status_code == 200)
        assert embed(client, "a", task="x")["gamma"] == 2.0


def test_who_may_change_tasks(target: StoreTarget) -> None:
    keys = {"api_keys": ("reader-key-0123456",), "admin_keys": ("admin-key-01234567",)}
    with learning(target, api_keys=keys["api_keys"], admin_keys=keys["admin_keys"]) as client:
        reader, admin = ({"Authorization": f"Bearer {key}"} for (key,) in keys.values())
        fit = {"kind": "classify", "examples": CLASSIFY}
        assert client.get("/v1/tasks", headers=reader).status_code == 200
        changes = [("PUT", "/v1/tasks/x", MIX), ("POST", "/v1/tasks/x/fit", fit)]
        for method, path, body in changes:
            reply = client.request(method, path, json=body, headers=reader)
            assert error_of(reply) == (403, "forbidden", None)
        assert client.put("/v1/tasks/x", json=MIX, headers=admin).status_code == 201
        reply = client.post("/v1/tasks/x/predict", json={"inputs": [{"text": "a"}]}, headers=reader)
        assert error_of(reply) == (409, "no_head", None)
        assert client.post("/v1/tasks/y/fit", json=fit, headers=admin).status_code == 202

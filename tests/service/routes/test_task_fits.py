"""Learning over HTTP: the real queue, the real fit and a real store, behind a fake model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from model.tasks.head import SenseHead
from model.tasks.task import Task
from service.task_store.target import StoreTarget
from tests.service.conftest import wait_until
from tests.service.fake_backend import FakeRuntime
from tests.service.routes.asking import embed
from tests.service.routes.task_client import (
    CLASSIFY,
    HIGH,
    LOW,
    SENSE,
    SHA256,
    TAG,
    ended,
    error_of,
    learn,
    learning,
)

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def client(module_target: StoreTarget) -> Iterator[httpx.Client]:
    with learning(module_target, max_fit_examples=60, max_fit_labels=3) as client:
        yield client


def predict(client: httpx.Client, name: str, *inputs: object) -> Any:
    reply = client.post(f"/v1/tasks/{name}/predict", json={"inputs": inputs})
    assert reply.status_code == 200, reply.text
    return reply.json()["predictions"]


def test_sentences(client: httpx.Client) -> None:
    document = learn(client, "letters", kind="classify", examples=CLASSIFY)
    assert (document["model_sha256"], document["labels"]) == (SHA256, ["high", "low"])
    assert document["report"]["rows"][-1]["accuracy"] == 1.0
    low, high = predict(client, "letters", {"text": "b d"}, {"text": ["x", "w"]})
    assert (low["label"], high["label"]) == ("low", "high")
    assert low["probability"] == low["probabilities"]["low"] > 0.5
    assert sum(high["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert list(high["probabilities"]) == ["high", "low"], "the most probable first"


def test_words(client: httpx.Client) -> None:
    learn(client, "words", kind="tag", examples=TAG)
    (first, second) = predict(client, "words", {"words": ["z", "a"]}, {"words": ["c"]})
    assert (first["labels"], second["labels"]) == (["high", "low"], ["low"])
    assert [max(each.values()) > 0.5 for each in first["probabilities"]] == [True, True]


def test_senses(client: httpx.Client) -> None:
    learn(client, "배", kind="sense", examples=SENSE)
    boat, belly, unknown = predict(
        client,
        "배",
        {"text": "배 b q", "start": 0, "end": 1},
        {"text": "배 f q p o", "start": 0, "end": 1},
        {"text": "x A", "start": 2, "end": 3},
    )
    assert (boat["label"], belly["label"]) == ("boat", "belly")
    assert (boat["word"], boat["known"], set(boat["probabilities"])) == ("배", True, {"boat", "belly"})
    vector = unknown.pop("vector")
    assert unknown == {"word": "a", "known": False, "label": None}
    found = embed(client, "x A", task="배", spans=[[[2, 3]]])["embeddings"][0]["vectors"][0]
    np.testing.assert_allclose(vector, found, rtol=1e-6)


def test_a_sense_is_told_from_the_word_and_from_what_its_text_is_about(client: httpx.Client) -> None:
    document = learn(client, "context", kind="sense", examples=SENSE)
    assert document["head"]["global_context"] == document["report"]["global_context"] > 0
    document["head"]["global_context"] = 3.0
    assert client.put("/v1/tasks/context", json=document).status_code == 200
    text, span = "배 b q p", [0, 1]
    (prediction,) = predict(client, "context", {"text": text, "start": 0, "end": 1})

    mixed = embed(client, text, task="context", spans=[[span]])["embeddings"][0]["vectors"]
    means = embed(client, text, layer=0, pool="sentence")["embeddings"][0]["vectors"]
    task = Task.from_document(document)
    assert isinstance(task.head, SenseHead)
    x_ND = np.array(mixed) + document["gamma"] * 3.0 * np.array(means)
    (expected,) = task.head.predict(x_ND.astype(np.float32), ["배"])
    for k, probability in zip(expected.labels, expected.probabilities, strict=True):
        assert prediction["probabilities"][task.labels[k]] == pytest.approx(probability, abs=2e-6)
    (without,) = task.head.predict(np.array(mixed, dtype=np.float32), ["배"])
    assert not np.allclose(without.probabilities, expected.probabilities, atol=0.01)

    # A task that was learned before there was a global context.
    del document["head"]["global_context"], document["report"]["global_context"]
    assert client.put("/v1/tasks/context", json=document).status_code == 200
    (old,) = predict(client, "context", {"text": text, "start": 0, "end": 1})
    for k, probability in zip(without.labels, without.probabilities, strict=True):
        assert old["probabilities"][task.labels[k]] == pytest.approx(probability, abs=2e-6)


def test_a_given_word_stands_for_the_marked_one(client: httpx.Client) -> None:
    examples = [{**example, "word": "ship"} for example in SENSE]
    learn(client, "ship", kind="sense", examples=examples)
    item = {"text": "배 b q", "start": 0, "end": 1}
    known, unknown = predict(client, "ship", {**item, "word": "ship"}, item)
    assert (known["known"], unknown["known"]) == (True, False)


def test_the_learned_mix_is_embedded_with(client: httpx.Client) -> None:
    learn(client, "mixed", kind="classify", examples=CLASSIFY)
    (entry,) = (task for task in client.get("/v1/tasks").json()["tasks"] if task["name"] == "mixed")
    reply = embed(client, "a", task="mixed")
    assert (reply["layer_weights"], reply["gamma"]) == (entry["weights"], entry["gamma"])
    openai = client.post("/v1/embeddings", json={"model": "fake:mixed", "input": "a"})
    assert openai.status_code == 200


def test_streamed_lines_are_the_same_as_a_body(client: httpx.Client) -> None:
    whole = learn(client, "whole", kind="classify", examples=CLASSIFY)

    def lines() -> Iterator[bytes]:
        text = "\n\n".join(json.dumps(example) for example in CLASSIFY).encode()
        for start in range(0, len(text), 7):
            yield text[start : start + 7]

    url = "/v1/tasks/streamed/fit?kind=classify&model=fake"
    assert client.post(url, content=lines(), headers=NDJSON).status_code == 202
    assert ended(client, "streamed")["state"] == "done"
    streamed = client.get("/v1/tasks/streamed").json()
    assert {**streamed, "name": "whole"} == whole


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"kind": "sing"}, (422, "invalid_request", "kind")),
        ({"kind": "tag"}, (422, "invalid_request", "examples[0].words")),
        ({"examples": CLASSIFY[:9]}, (422, "invalid_request", "examples")),
        ({"examples": CLASSIFY[:12]}, (422, "invalid_request", "examples")),
        ({"examples": [{"text": " ", "label": "a"}]}, (422, "invalid_request", "examples[0].text")),
        ({"examples": [{"text": "a", "label": ""}]}, (422, "invalid_request", "examples[0].label")),
        ({"examples": [{"text": ["a", ""], "label": "b"}]}, (422, "invalid_request", "examples[0].text[1]")),
        ({"examples": CLASSIFY * 3}, (413, "too_many_examples", "examples[60]")),
        (
            {"examples": [{"text": "a", "label": str(i)} for i in range(4)]},
            (413, "too_many_examples", "examples[3].label"),
        ),
        ({"examples": [{"text": "a" * 200_001, "label": "b"}]}, (413, "input_too_long", "examples[0].text")),
        ({"model": "other"}, (422, "unknown_model", "model")),
        ({"dev": []}, (422, "invalid_request", "dev")),
    ],
)
def test_what_cannot_be_learned_from(client: httpx.Client, change: Any, refusal: Any) -> None:
    body = {"kind": "classify", "examples": CLASSIFY, **change}
    assert error_of(client.post("/v1/tasks/x/fit", json=body)) == refusal
    assert error_of(client.get("/v1/tasks/x/fit")) == (404, "fit_not_found", None)


@pytest.mark.parametrize(
    ("example", "place"),
    [
        ({"start": 1, "end": 1}, "examples[0].start"),
        ({"start": 0, "end": 9}, "examples[0].start"),
        ({"start": -1, "end": 1}, "examples[0].start"),
        ({"word": ""}, "examples[0].word"),
        ({"text": ["a"]}, "examples[0].text"),
    ],
)
def test_marks_that_are_none(client: httpx.Client, example: Any, place: str) -> None:
    body = {"kind": "sense", "examples": [{**SENSE[0], **example}]}
    assert error_of(client.post("/v1/tasks/x/fit", json=body)) == (422, "invalid_request", place)


def test_labels_that_do_not_fit_the_words(client: httpx.Client) -> None:
    body = {"kind": "tag", "examples": [{"words": ["a", "b"], "labels": ["c"]}]}
    reply = client.post("/v1/tasks/x/fit", json=body)
    assert error_of(reply) == (422, "invalid_request", "examples[0].labels")
    assert reply.json()["error"]["message"] == "expected 2, one for each word, got 1"


@pytest.mark.parametrize(
    ("query", "content", "refusal"),
    [
        ("", b"{}", (422, "invalid_request", "kind")),
        ("?kind=sing", b"{}", (422, "invalid_request", "kind")),
        (
            "?kind=classify",
            b'{"text": "a", "label": "b"}\n\n{"text": 1}',
            (422, "invalid_request", "line 3.text"),
        ),
        ("?kind=classify", b'{"text": "a", "label": "b"}\n{', (422, "malformed_body", "line 2")),
        ("?kind=classify", b'{"text": "\xff"}', (422, "malformed_body", "line 1")),
        ("?kind=classify", b"", (422, "invalid_request", "examples")),
        ("?kind=classify&model=x", b"", (422, "unknown_model", "model")),
    ],
)
def test_lines_that_are_wrong(client: httpx.Client, query: str, content: bytes, refusal: Any) -> None:
    reply = client.post(f"/v1/tasks/x/fit{query}", content=content, headers=NDJSON)
    assert error_of(reply) == refusal


def test_a_body_of_another_type(client: httpx.Client) -> None:
    reply = client.post("/v1/tasks/x/fit", content=b"{}", headers={"Content-Type": "text/plain"})
    assert error_of(reply) == (415, "unsupported_media_type", None)
    headers = {**NDJSON, "Content-Encoding": "gzip"}
    reply = client.post("/v1/tasks/x/fit?kind=classify", content=b"{}", headers=headers)
    assert error_of(reply) == (415, "unsupported_media_type", None)


@pytest.mark.parametrize("name", ["..x", "a b", "a:b", "x" * 65])
def test_names_that_are_none(client: httpx.Client, name: str) -> None:
    body = {"kind": "classify", "examples": CLASSIFY}
    assert error_of(client.post(f"/v1/tasks/{name}/fit", json=body)) == (422, "invalid_request", "name")
    assert error_of(client.get(f"/v1/tasks/{name}")) == (404, "task_not_found", None)
    assert error_of(client.get(f"/v1/tasks/{name}/fit")) == (404, "fit_not_found", None)
    assert error_of(client.delete(f"/v1/tasks/{name}")) == (404, "task_not_found", None)


def test_what_only_the_fit_finds_out_is_said_by_get(client: httpx.Client) -> None:
    """A label that no two sentences share; a sentence that the model cannot read."""
    same = [{"text": "a", "label": "low"}] * 6 + [{"text": "w", "label": "high"}] * 6
    client.post("/v1/tasks/same/fit", json={"kind": "classify", "examples": same})
    fit = ended(client, "same")
    assert (fit["state"], fit["message"][:30]) == ("failed", "labels: expected at least 2, e")
    blind = [*CLASSIFY, {"text": "_", "label": "low"}]
    client.post("/v1/tasks/blind/fit", json={"kind": "classify", "examples": blind})
    fit = ended(client, "blind")
    message = f"examples[{len(CLASSIFY)}]: expected text, got only characters that the tokenizer drops"
    assert (fit["state"], fit["message"]) == ("failed", message)
    assert error_of(client.get("/v1/tasks/blind")) == (404, "task_not_found", None)


class Held:
    """A server whose model stands still, with a fit on its way."""

    def __init__(self, client: httpx.Client, runtime: FakeRuntime) -> None:
        self.client = client
        self.runtime = runtime

    def start(self, name: str) -> httpx.Response:
        return self.client.post(f"/v1/tasks/{name}/fit", json={"kind": "classify", "examples": CLASSIFY})


@pytest.fixture
def held(target: StoreTarget) -> Iterator[Held]:
    runtime = FakeRuntime()
    with learning(target, runtime, max_fits=2) as client:
        runtime.may_run.clear()
        try:
            yield Held(client, runtime)
        finally:
            runtime.may_run.set()


def test_one_fit_a_name_and_no_more_than_the_limit(held: Held) -> None:
    assert held.start("one").status_code == 202
    reply = held.start("one")
    assert error_of(reply) == (409, "fit_running", None)
    assert held.start("two").status_code == 202
    reply = held.start("three")
    assert error_of(reply) == (429, "too_many_fits", None)
    assert reply.json()["error"]["message"] == "expected at most 2 fits at a time, 2 run already"
    assert int(reply.headers["Retry-After"]) > 0
    assert error_of(held.client.get("/v1/tasks/one")) == (404, "task_not_found", None)
    held.runtime.may_run.set()
    assert [ended(held.client, name)["state"] for name in ("one", "two")] == ["done", "done"]
    wait_until(lambda: held.start("three").status_code == 202)


def test_a_fit_is_cancelled(held: Held) -> None:
    held.start("one")
    reply = held.client.delete("/v1/tasks/one/fit")
    assert (reply.status_code, reply.json()["cancel_requested"]) == (202, True)
    fit = ended(held.client, "one")
    assert (fit["state"], fit["message"]) == ("cancelled", "")
    held.runtime.may_run.set()
    assert error_of(held.client.delete("/v1/tasks/one/fit")) == (404, "fit_not_found", None)
    assert error_of(held.client.get("/v1/tasks/one")) == (404, "task_not_found", None)
    wait_until(lambda: held.start("one").status_code == 202)
    assert ended(held.client, "one")["state"] == "done"


def test_a_server_that_stops_leaves_no_fit_behind(target: StoreTarget) -> None:
    runtime = FakeRuntime()
    with learning(target, runtime) as client:
        runtime.may_run.clear()
        client.post("/v1/tasks/one/fit", json={"kind": "classify", "examples": CLASSIFY})
        wait_until(runtime.running.is_set)
        # The engine is let go only when the server is ending.
        drop = threading.Timer(1.0, runtime.may_run.set)
        drop.start()
    drop.join()
    with learning(target) as client:
        fit = client.get("/v1/tasks/one/fit").json()
        message = "the server was stopped before the fit had ended; start it again"
        assert (fit["state"], fit["message"]) == ("failed", message)


def test_a_task_outlives_the_server(target: StoreTarget) -> None:
    with learning(target) as client:
        document = learn(client, "letters", kind="classify", examples=CLASSIFY)
    with learning(target) as client:
        assert client.get("/v1/tasks/letters").json() == document
        assert predict(client, "letters", {"text": f"{LOW[0]} {LOW[1]}"})[0]["label"] == "low"
        assert predict(client, "letters", {"text": f"{HIGH[0]} {HIGH[1]}"})[0]["label"] == "high"


def test_longer_bodies_for_streams_alone(target: StoreTarget) -> None:
    content = b"\n".join(json.dumps(example).encode() for example in CLASSIFY)
    with learning(target, max_body_bytes=100, max_task_bytes=len(content)) as client:
        url = "/v1/tasks/x/fit?kind=classify"
        assert client.post(url, content=content, headers=NDJSON).status_code == 202
        reply = client.post(url, content=content + b"\n", headers=NDJSON)
        assert error_of(reply) == (413, "body_too_large", None)
        body = {"kind": "classify", "examples": CLASSIFY}
        assert error_of(client.post("/v1/tasks/y/fit", json=body)) == (413, "body_too_large", None)

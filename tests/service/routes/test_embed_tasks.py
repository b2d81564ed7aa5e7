"""POST /v1/embed: the mixes that tasks have learned, one or several from a single run."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.mixes import Mix
from tests.service.conftest import fake_settings, serving
from tests.service.fake_backend import FakeRuntime, expected_vector, fake_backend
from tests.service.given_mixes import GivenMixes
from tests.service.routes.asking import embed, refused

MIXES = {"sense": Mix((0.5, 0.0, 0.5), 2.0), "품사": Mix((0.0, 1.0, 0.0))}


@contextmanager
def serving_tasks(runtime: FakeRuntime, model_sha256: str = "0" * 64) -> Iterator[httpx.Client]:
    app = create_app(
        fake_settings(),
        lambda folder, *_: fake_backend(folder.name, runtime),
        mix_store=GivenMixes(model_sha256, MIXES),
    )
    with serving(app) as client:
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serving_tasks(FakeRuntime()) as client:
        yield client


def layer(number: int) -> np.ndarray:
    return np.array([expected_vector("a", number, 2, 0), expected_vector("b", number, 2, 1)])


SENSE, POS = (layer(0) + layer(2)).tolist(), layer(1).tolist()


def test_one_task_is_its_mix(client: httpx.Client) -> None:
    reply = embed(client, "a b", task="sense")
    assert (reply["layer_weights"], reply["gamma"]) == ([0.5, 0.0, 0.5], 2.0)
    assert reply["embeddings"][0]["vectors"] == SENSE


def test_several_tasks_have_an_entry_each_in_the_order_asked_for(client: httpx.Client) -> None:
    reply = embed(client, "a b", tasks=["품사", "sense"])
    tokens = [{"text": "a", "start": 0, "end": 1}, {"text": "b", "start": 2, "end": 3}]
    assert reply == {
        "model": "fake",
        "dimension": 4,
        "layer_weights": {"품사": [0.0, 1.0, 0.0], "sense": [0.5, 0.0, 0.5]},
        "gamma": {"품사": 1.0, "sense": 2.0},
        "embeddings": [{"tokens": tokens, "vectors": {"품사": POS, "sense": SENSE}, "num_tokens": 2}],
    }
    assert list(reply["gamma"]) == list(reply["embeddings"][0]["vectors"]) == ["품사", "sense"]


def test_a_list_of_one_task_is_still_an_object(client: httpx.Client) -> None:
    reply = embed(client, "a b", tasks=["sense"])
    assert (reply["gamma"], reply["embeddings"][0]["vectors"]) == ({"sense": 2.0}, {"sense": SENSE})


def test_several_tasks_take_one_run() -> None:
    runtime = FakeRuntime()
    with serving_tasks(runtime) as client:
        embed(client, "a b", tasks=["품사", "sense"])
    assert runtime.batches == [[4]]


def test_tasks_pooled_in_base64(client: httpx.Client) -> None:
    fields = {"tasks": ["sense", "품사"], "pool": "sentence", "dtype": "float16"}
    (embedding,) = embed(client, "a b", encoding="base64", **fields)["embeddings"]
    assert (embedding["shape"], embedding["dtype"]) == ([1, 4], "float16")
    for name, rows in (("sense", SENSE), ("품사", POS)):
        values = np.frombuffer(base64.b64decode(embedding["vectors"][name]), dtype="<f2")
        np.testing.assert_array_equal(values, np.mean(rows, axis=0))


def test_what_cannot_be_mixed(client: httpx.Client) -> None:
    assert refused(client, "a", task="other") == (
        422,
        {"type": "unknown_task", "message": "expected a task that was given, got another", "where": "task"},
    )
    status, error = refused(client, "a", tasks=["sense", "other"])
    assert (status, error["type"], error["where"]) == (422, "unknown_task", "tasks[1]")
    assert refused(client, "a", tasks=["sense", "sense"]) == (
        422,
        {
            "type": "invalid_request",
            "message": 'expected every task once, got the string "sense" twice',
            "where": "tasks[1]",
        },
    )
    assert refused(client, "a", tasks=[]) == (
        422,
        {
            "type": "invalid_request",
            "message": "expected a list of at least 1, got a list of 0",
            "where": "tasks",
        },
    )
    assert refused(client, "a", task="sense", layer="all") == (
        422,
        {
            "type": "invalid_request",
            "message": "expected at most one of task, tasks, mix and layer, got task and layer",
            "where": "layer",
        },
    )


def test_a_task_of_another_model() -> None:
    with serving_tasks(FakeRuntime(), model_sha256="1" * 64) as client:
        assert refused(client, "a", task="sense") == (
            409,
            {
                "type": "wrong_model",
                "message": "expected the model of the task, got another",
                "where": "task",
            },
        )

"""How the tests of tasks ask a server, and what they teach it.

The fake model (fake_backend.py) gives each token its number, position and layer: sentences whose letters
differ can be told apart, in every layer alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from service.app import create_app
from service.task_store.target import SQLiteFile, StoreTarget
from tests.service.conftest import fake_settings, serving, wait_until
from tests.service.fake_backend import FakeRuntime, fake_backend

SHA256 = "0" * 64  # of the fake model

LOW, HIGH = "abcd", "wxyz"

CLASSIFY = [{"text": f"{a} {b}", "label": label} for label, letters in (("low", LOW), ("high", HIGH))
            for a in letters for b in letters if a != b]  # fmt: skip
TAG = [{"words": [a, b, a], "labels": ["low", "high", "low"]} for a in LOW for b in HIGH]
SENSE = [{"text": f"배 {x} {y}", "start": 0, "end": 1, "label": label}
         for x in LOW for y, label in (("q", "boat"), ("q r s", "belly"))]  # fmt: skip
SENSE += [{"text": f"배 {x} q p o", "start": 0, "end": 1, "label": "belly"} for x in LOW]


@contextmanager
def learning(
    place: StoreTarget, runtime: FakeRuntime | None = None, **changes: object
) -> Iterator[httpx.Client]:
    """Serve the fake model with a real store in this place."""
    served = runtime or FakeRuntime()
    settings = fake_settings(**kept_in(place), **changes)
    with serving(create_app(settings, lambda folder, *_: fake_backend(folder.name, served))) as client:
        yield client


def kept_in(place: StoreTarget) -> dict[str, object]:
    """Return the setting that says where tasks are kept."""
    return {"tasks_path": place.path} if isinstance(place, SQLiteFile) else {"database_url": place}


def learn(client: httpx.Client, name: str, **body: object) -> Any:
    """Learn a task and return its document."""
    reply = client.post(f"/v1/tasks/{name}/fit", json=body)
    assert reply.status_code == 202, reply.text
    fit = ended(client, name)
    assert (fit["state"], fit["message"], fit["progress"]) == ("done", "", 1.0)
    return client.get(f"/v1/tasks/{name}").raise_for_status().json()


def ended(client: httpx.Client, name: str) -> Any:
    """Wait for the end of a fit and return what is said of it."""
    wait_until(lambda: client.get(f"/v1/tasks/{name}/fit").json()["ended_at"] is not None)
    return client.get(f"/v1/tasks/{name}/fit").json()


def error_of(reply: httpx.Response) -> tuple[int, str, str | None]:
    """Return a refusal's status, type and place."""
    error = reply.json()["error"]
    return reply.status_code, error["type"], error.get("where")

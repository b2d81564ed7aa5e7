"""Tasks in several processes: what one has learned all use; what a killed one was learning is no task."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until
from tests.service.postgresql_server import PostgreSQLServer
from tests.service.processes import ServerProcess, server_process
from tests.service.routes.task_client import ended
from tests.service.tiny_bundle import write_tiny_bundle

EXAMPLES = [
    {"text": f"{first} {second}", "label": label}
    for label, first in (("en", "The bank lent"), ("ko", "강에서 배를"))
    for second in ("탔다", "money", "of the river", "고프다", "him", "muddy", "she", "어제", "raised", "밤에")
]


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The variable that says where tasks are kept."""
    if request.param == "sqlite":
        return {"POLYSEME_TASKS_PATH": str(tmp_path / "t.sqlite")}
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    return {"POLYSEME_DATABASE_URL": server.new_url()}


@pytest.fixture
def two(tmp_path: Path, kept: dict[str, str]) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    flags = ("--bundle", bundle, "--workers", "2", "--threads", "1")
    with server_process(*flags, variables=kept) as running:
        yield running


def gammas(address: httpx.URL) -> set[float | None]:
    """Ask over connections of their own, which any worker may take."""
    found = set()
    for _ in range(8):
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            reply = client.post("/v1/embed", json={"inputs": ["a"], "task": "which"})
            found.add(reply.json()["gamma"] if reply.status_code == 200 else None)
    return found


def test_a_task_is_live_in_every_worker(two: tuple[ServerProcess, httpx.Client]) -> None:
    _, client = two
    assert gammas(client.base_url) == {None}
    assert (
        client.post("/v1/tasks/which/fit", json={"kind": "classify", "examples": EXAMPLES}).status_code == 202
    )
    fit = ended(client, "which")
    assert (fit["state"], fit["message"]) == ("done", "")
    gamma = client.get("/v1/tasks/which").json()["gamma"]
    wait_until(lambda: gammas(client.base_url) == {gamma})
    for change in (5.0, 7.0):
        body = {"kind": "classify", "scalars": [0, 0, 0], "gamma": change}
        assert client.put("/v1/tasks/which", json=body).status_code == 200
        wait_until(lambda: gammas(client.base_url) == {change})  # noqa: B023
    assert client.delete("/v1/tasks/which").status_code == 204
    wait_until(lambda: gammas(client.base_url) == {None})


def test_a_killed_server_leaves_no_half_task(tmp_path: Path, kept: dict[str, str]) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    flags = ("--bundle", bundle, "--threads", "1")
    many = [
        {"text": f"{each['text']} " * 40 + str(i), "label": each["label"]}
        for i in range(40)
        for each in EXAMPLES
    ]
    with server_process(*flags, variables=kept) as (server, client):
        assert (
            client.post("/v1/tasks/which/fit", json={"kind": "classify", "examples": many}).status_code == 202
        )
        os.kill(server.popen.pid, signal.SIGKILL)
        server.wait()
    with server_process(*flags, variables=kept) as (_, client):
        assert client.get("/v1/tasks/which").status_code == 404
        assert client.get("/v1/tasks").json() == {"tasks": []}

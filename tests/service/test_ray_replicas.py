"""Two replicas on a real Ray, under load: one is killed, both are replaced, more start, tasks reach all.

Every vector of every reply is compared with what the same bundle gives in one process.
"""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from service.app import create_app
from service.settings import Settings
from tests.patience import PATIENCE_S
from tests.service.conftest import serving, wait_until
from tests.service.postgresql_server import PostgreSQLServer
from tests.service.ray_server import RayServer, ray_server
from tests.service.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow

NUM_CLIENTS = 3

REQUESTS = [
    [
        f"{first} {second} {third} " * 20
        for first in ("The bank", "강에서")
        for third in ("river", "밤에", "of")
    ]
    for second in ("lent him", "탔다", "raised the rates", "고프다")
]
"""What is asked for in turn, long enough that a replica that is killed is at work."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").folder


@pytest.fixture(scope="module")
def expected(bundle: Path) -> list[npt.NDArray[np.float32]]:
    """The vectors of REQUESTS, of one process without Ray."""
    with serving(create_app(Settings(bundle=(bundle,), threads=1))) as client:
        return [vectors(ask(client, texts)) for texts in REQUESTS]


@pytest.fixture(scope="module")
def ray(bundle: Path, postgresql_server: PostgreSQLServer) -> Iterator[RayServer]:
    """Two replicas, with their tasks in PostgreSQL."""
    with ray_server({"POLYSEME_DATABASE_URL": postgresql_server.new_url()}) as server:
        server.deploy(bundle=bundle, threads=1, min_replicas=2, max_replicas=2)
        yield server


def ask(client: httpx.Client, texts: list[str]) -> httpx.Response:
    return client.post("/v1/embed", json={"inputs": texts}, headers={"Accept": "application/x-npz"})


def vectors(reply: httpx.Response) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = np.load(io.BytesIO(reply.raise_for_status().content))["vectors"]
    return found


@dataclass
class Load:
    """What clients saw that ask all the time, and ask again when a request was lost."""

    num_right: int = 0
    num_asking: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    lost_twice: list[str] = field(default_factory=list)
    largest_error: float = 0.0


@contextmanager
def under_load(address: str, expected: list[npt.NDArray[np.float32]]) -> Iterator[Load]:
    """Let clients ask for as long as the block lasts."""
    load, lock, is_over = Load(), threading.Lock(), threading.Event()

    def lost(reply: httpx.Response | httpx.TransportError) -> str | None:
        """Return what was lost, and how: a request is not, when the server itself has answered."""
        if isinstance(reply, httpx.TransportError):
            return type(reply).__name__
        return None if reply.status_code == 200 else f"{reply.status_code} {reply.text[:80]}"

    def once(client: httpx.Client, texts: list[str]) -> httpx.Response | httpx.TransportError:
        with lock:
            load.num_asking += 1
        try:
            return ask(client, texts)
        except httpx.TransportError as error:
            return error
        finally:
            with lock:
                load.num_asking -= 1

    def work() -> None:
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            while not is_over.is_set():
                for texts, right in zip(REQUESTS, expected, strict=True):
                    reply = once(client, texts)
                    if (how := lost(reply)) is not None:
                        with lock:
                            load.lost[how] += 1
                        reply = once(client, texts)
                    if (how := lost(reply)) is not None:
                        with lock:
                            load.lost_twice.append(how)
                        continue
                    assert isinstance(reply, httpx.Response)
                    error = float(np.abs(vectors(reply) - right).max())
                    with lock:
                        load.num_right += 1
                        load.largest_error = max(load.largest_error, error)

    threads = [threading.Thread(target=work) for _ in range(NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: load.num_right >= 20)
        yield load
        seen = load.num_right
        wait_until(lambda: load.num_right >= seen + 20)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_a_client_that_asks_twice_misses_nothing_when_a_replica_is_killed(
    ray: RayServer, expected: list[npt.NDArray[np.float32]], record_property: Any, capsys: Any
) -> None:
    killed, other = sorted(ray.replicas)
    with under_load(ray.address, expected) as load:
        wait_until(lambda: load.num_asking == NUM_CLIENTS)
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: len(set(ray.replicas) - {killed, other}) == 1)
    assert (load.lost_twice, load.largest_error <= 1e-5) == ([], True)
    assert load.lost.total() <= NUM_CLIENTS  # what was in flight, at most
    # Ray's proxy says so in these words, or cuts a reply that has begun.
    assert set(load.lost) <= {"500 Internal Server Error", "RemoteProtocolError", "ReadError"}
    record_property("lost", load.lost.total())
    with capsys.disabled():
        print(f" [{load.lost.total()} of {load.num_right} requests lost without asking again] ", end="")


def test_a_task_is_live_in_every_replica_within_two_seconds(ray: RayServer) -> None:
    wait_until(lambda: len(ray.replicas) == 2)

    def gammas() -> set[float | None]:
        """Ask over connections of their own. Ray takes either replica, as it likes."""
        found = set()
        for _ in range(20):
            reply = httpx.post(
                f"{ray.address}/v1/embed", json={"inputs": ["a"], "task": "which"}, timeout=PATIENCE_S
            )
            found.add(reply.json()["gamma"] if reply.status_code == 200 else None)
        return found

    for gamma in (5.0, 7.0):
        body = {"kind": "classify", "scalars": [0, 0, 0], "gamma": gamma}
        put = httpx.put(f"{ray.address}/v1/tasks/which", json=body, timeout=PATIENCE_S)
        assert put.raise_for_status().json()["name"] == "which"
        time.sleep(2)  # the promise
        assert gammas() == {gamma}
    page = httpx.get(f"{ray.address}/metrics", timeout=PATIENCE_S).raise_for_status().text
    asked = re.findall(
        r'^polyseme_requests_total\{.*replica="(\w+)",route="/v1/embed",status="200"\} \d', page, re.M
    )
    assert len(set(asked)) == 2, page


def test_a_rolling_update_loses_nothing_and_a_queue_starts_replicas(
    ray: RayServer, bundle: Path, expected: list[npt.NDArray[np.float32]]
) -> None:
    before = set(ray.replicas)
    with under_load(ray.address, expected) as load:
        scaling = {"min_replicas": 2, "max_replicas": 3, "queued_tokens": 1, "upscale_delay_s": 0}
        ray.deploy(bundle=bundle, threads=1, queue_tokens=20_000, **scaling)
        wait_until(lambda: len(ray.replicas) == 3 and not before & set(ray.replicas))
    assert (load.lost, load.lost_twice, load.largest_error <= 1e-5) == (Counter(), [], True)

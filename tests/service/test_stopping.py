"""How a server ends: a process that is sent signals while it works."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until
from tests.service.processes import SERVING, ServerProcess, server_process
from tests.service.test_metrics import value
from tests.service.tiny_bundle import write_tiny_bundle

BODY = {"inputs": ["a"]}
STOPPING = {"error": {"type": "not_ready", "message": "the server is stopping and takes no new work"}}


@contextmanager
def slow_server(gate: Path, drain_s: int) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    server = ServerProcess(
        command=[sys.executable, "-m", "tests.service.slow_server", str(gate), str(drain_s)]
    )
    try:
        with httpx.Client(base_url=server.wait_for(SERVING)["address"], timeout=PATIENCE_S) as client:
            yield server, client
    finally:
        gate.touch()
        server.end()


@contextmanager
def in_flight(client: httpx.Client, num_requests: int = 1) -> Iterator[list[httpx.Response]]:
    """Have requests under way inside the block; their replies are in the list after it."""
    replies: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as own:
            replies.append(own.post("/v1/embed", json=BODY))

    threads = [threading.Thread(target=ask) for _ in range(num_requests)]
    for thread in threads:
        thread.start()
    wait_until(lambda: requests_in_flight(client) == num_requests)
    yield replies
    for thread in threads:
        thread.join()


def requests_in_flight(client: httpx.Client) -> float:
    return value(client.get("/metrics").text, "polyseme_requests_in_flight")


def test_what_has_begun_is_finished_and_nothing_new_is_taken(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with slow_server(gate, drain_s=30) as (server, client):
        with in_flight(client, 3) as replies:
            server.popen.terminate()
            server.wait_for(r"stopping; 3 requests in flight$")
            for path in ("/readyz", "/health"):
                probe = client.get(path)
                assert probe.status_code == 503
                assert probe.json()["error"]["message"] == "the server is stopping"
            assert client.get("/livez").status_code == 200
            assert client.get("/metrics").status_code == 200
            late = httpx.post(f"{client.base_url}/v1/embed", json=BODY)
            assert (late.status_code, late.json()) == (503, STOPPING)
            assert (late.headers["connection"], late.headers["retry-after"]) == ("close", "1")
            gate.touch()
        assert [reply.status_code for reply in replies] == [200] * 3
        assert server.wait() == 0
        assert server.lines[-1].endswith("INFO polyseme: stopped")


def test_what_takes_too_long_is_told_so(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with slow_server(gate, drain_s=1) as (server, client):
        with in_flight(client, 2) as replies:
            started = time.monotonic()
            server.popen.terminate()
        assert [reply.status_code for reply in replies] == [503] * 2
        message = "the server is stopping and could not finish this in time"
        assert replies[0].json() == {"error": {"type": "not_ready", "message": message}}
        # The fake engine still stands, as a hung one would: the process ends all the same.
        assert server.wait() == 0
        assert time.monotonic() - started > 0.9
        server.wait_for(r"WARNING polyseme: 2 requests are cut off after 1 s$")
        server.wait_for(r"WARNING polyseme: cut off: it did not end in time$")
        assert "Traceback" not in server.log


def test_a_second_signal_cuts_it_off(tmp_path: Path) -> None:
    with slow_server(tmp_path / "gate", drain_s=600) as (server, client):
        with connection_in_flight(client) as connection:
            server.popen.terminate()
            server.wait_for(r"stopping; 1 requests in flight$")
            os.kill(server.popen.pid, signal.SIGINT)
            assert connection.recv(1) == b""
        assert server.wait() == 0
        server.wait_for(r"WARNING polyseme: cut off: a second signal came$")


@contextmanager
def connection_in_flight(client: httpx.Client) -> Iterator[socket.socket]:
    address = (client.base_url.host, client.base_url.port or 0)
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:
        connection.sendall(
            b"POST /v1/embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 17\r\n\r\n{"inputs": ["a"]}'
        )
        wait_until(lambda: requests_in_flight(client) == 1)
        yield connection


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_under_load_loses_no_accepted_request(bundle: Path, workers: str) -> None:
    """Every client either has its vectors or has been told, before any work, to go elsewhere."""
    with server_process("--bundle", bundle, "--threads", "1", "--workers", workers) as (server, client):
        outcomes: list[str] = []

        def keep_asking(_: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=PATIENCE_S) as own:
                while True:
                    try:
                        reply = own.post("/v1/embed", json={"inputs": ["The bank lent him money."] * 8})
                    except httpx.ConnectError:
                        outcomes.append("gone")
                        return
                    except httpx.RemoteProtocolError as error:
                        # An idle connection was closed in the moment in which it was used again.
                        outcomes.append("closed" if "without sending" in str(error) else str(error))
                        continue
                    except httpx.ReadError:
                        outcomes.append("closed")
                        continue
                    outcomes.append(str(reply.status_code))
                    if reply.status_code == 200:
                        assert len(reply.json()["embeddings"]) == 8

        client.close()
        with ThreadPoolExecutor(8) as threads:
            asking = [threads.submit(keep_asking, i) for i in range(8)]
            wait_until(lambda: outcomes.count("200") > 50)
            server.popen.terminate()
            assert server.wait() == 0
            for future in asking:
                future.result()
        assert set(outcomes) <= {"200", "503", "closed", "gone"}
        assert "cut off" not in server.log


def test_a_bundle_that_is_overwritten_and_deleted_is_served_on(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny")
    with server_process("--bundle", copy, "--threads", "1") as (_, client):
        before = client.post("/v1/embed", json={"inputs": ["강에서 배를 탔다"], "layer": "all"})
        for file in copy.iterdir():  # in place: what had only been mapped into memory would be gone
            os.truncate(file, 0)
        shutil.rmtree(copy)
        after = client.post("/v1/embed", json={"inputs": ["강에서 배를 탔다"], "layer": "all"})
        assert (before.status_code, after.status_code) == (200, 200)
        assert before.content == after.content
        assert client.post("/v1/embed", json={"inputs": ["새 문장"]}).status_code == 200
        assert client.get("/readyz").status_code == 200


def test_two_bundles_are_chosen_by_their_names(bundle: Path, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "other").folder
    with server_process("--bundle", bundle, "--bundle", other, "--threads", "1") as (server, client):
        assert server.wait_for(SERVING)["models"] == "tiny, other"
        for name in ("tiny", "other"):
            reply = client.post("/v1/embed", json={**BODY, "model": name})
            assert (reply.status_code, reply.json()["model"]) == (200, name)
        assert client.post("/v1/embed", json=BODY).json()["error"]["message"] == (
            'expected "tiny" or "other", got null'
        )
        assert client.get("/readyz").status_code == 200

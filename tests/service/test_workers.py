"""Several processes on one port: real ones, killed and stopped as an operator or a machine would."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.metrics import FOLDER_VARIABLE
from service.settings import Settings
from service.workers import SILENT_S, WorkersError, serve_with_workers
from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until
from tests.service.processes import ServerProcess, server_process
from tests.service.test_metrics import value
from tests.service.tiny_bundle import write_tiny_bundle

BODY = {"inputs": ["She sat on the bank of the river."], "layer": "top"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture
def two(bundle: Path) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    with server_process("--bundle", bundle, "--workers", "2", "--threads", "1") as running:
        yield running


def workers_of(server: ServerProcess) -> set[int]:
    """Return the processes below the parent that serve; one that Python adds for itself does not."""
    children = Path(f"/proc/{server.popen.pid}/task/{server.popen.pid}/children").read_text().split()
    return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def ask_alone(address: httpx.URL, path: str = "/v1/embed") -> httpx.Response:
    """Ask over a connection of its own, which any worker may take."""
    with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        return client.post(path, json=BODY) if path == "/v1/embed" else client.get(path)


def test_they_share_the_port_sum_their_metrics_and_end_in_order(
    two: tuple[ServerProcess, httpx.Client],
) -> None:
    server, client = two
    server.wait_for(r"with 1 compute threads in each of 2 workers$")
    assert len(workers_of(server)) == 2
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: ask_alone(client.base_url), range(40)))
    assert [reply.status_code for reply in replies] == [200] * 40
    assert len({reply.content for reply in replies}) == 1
    served = r"polyseme_requests_total{method=\"POST\",route=\"/v1/embed\",status=\"200\"}"
    page = client.get("/metrics").text
    assert value(page, served.replace("\\", "")) == 40
    assert value(page, "polyseme_ready") == 1
    assert value(page, 'polyseme_queue_tokens{model="tiny"}') == 0
    folder = metrics_folder(server)
    files = [path for path in folder.iterdir() if path.name.startswith("counter_")]
    assert len(files) == 2, "each of the two has served something"
    client.close()
    ends_in_order(server, signal.SIGTERM)


def ends_in_order(server: ServerProcess, number: signal.Signals) -> None:
    folder, workers = metrics_folder(server), workers_of(server)
    os.kill(server.popen.pid, number)
    assert server.wait() == 0
    assert server.lines[-1].endswith("INFO polyseme: stopped")
    assert "Traceback" not in server.log
    assert not folder.exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def metrics_folder(server: ServerProcess) -> Path:
    (worker, *_) = workers_of(server)
    environment = Path(f"/proc/{worker}/environ").read_bytes().decode()
    found = re.search(r"PROMETHEUS_MULTIPROC_DIR=([^\0]+)", environment)
    assert found
    return Path(found[1])


def num_embedded(client: httpx.Client) -> float:
    """What the workers together have counted. A request counts once its reply is out, a moment after that is
    read."""
    page = ask_alone(client.base_url, "/metrics").text
    return value(page, 'polyseme_requests_total{method="POST",route="/v1/embed",status="200"}')


def test_a_killed_worker_is_replaced_and_its_counts_stay(two: tuple[ServerProcess, httpx.Client]) -> None:
    server, client = two
    for _ in range(10):
        assert ask_alone(client.base_url).status_code == 200
    client.close()
    wait_until(lambda: num_embedded(client) == 10)
    before = workers_of(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    server.wait_for(f"ERROR polyseme: worker {victim} was ended by SIGKILL; another takes its place$")
    # The port is the parent's: whoever comes now is served by the other one.
    assert ask_alone(client.base_url).status_code == 200
    replaced = server.wait_for(r"INFO polyseme: worker (\d+) serves$")
    after = workers_of(server)
    assert after == before - {victim} | {int(replaced[1])}
    wait_until(lambda: num_embedded(client) == 11)
    assert list(metrics_folder(server).glob(f"gauge_live*_{victim}.db")) == []
    ends_in_order(server, signal.SIGINT)


def test_a_worker_whose_bundle_is_gone_is_tried_again_while_the_other_serves(
    bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "tiny")
    with server_process("--bundle", copy, "--workers", "2", "--threads", "1") as (server, client):
        shutil.rmtree(copy)
        first, second = sorted(workers_of(server))
        os.kill(first, signal.SIGKILL)
        server.wait_for(rf"a worker cannot start, the next attempt is in 1 s: {re.escape(str(copy))}")
        assert ask_alone(client.base_url).status_code == 200
        os.kill(second, signal.SIGKILL)
        assert server.wait() == 2
    reason = rf"polyseme: no worker is left, and none can start: {re.escape(str(copy))}"
    assert re.match(reason, server.lines[-1])


def test_workers_end_with_their_parent(two: tuple[ServerProcess, httpx.Client]) -> None:
    server, _ = two
    folder, workers = metrics_folder(server), workers_of(server)
    server.popen.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert not folder.exists()


def test_a_broken_bundle_is_refused_before_any_worker_starts(bundle: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "weights.safetensors").write_bytes(b"")
    server = ServerProcess("--bundle", broken, "--workers", "2")
    assert server.wait() == 2
    (line,) = server.lines
    assert line.startswith(f"polyseme: {broken / 'weights.safetensors'}: ")


def test_what_only_a_worker_finds_out_ends_them_all(bundle: Path) -> None:
    server = ServerProcess("--bundle", bundle, "--bundle", bundle, "--workers", "2", "--threads", "1")
    assert server.wait() == 2
    assert server.lines[-1] == (
        f'polyseme: {bundle}: expected another name than the string "tiny": it is served already'
    )
    assert "Traceback" not in server.log


def test_a_worker_that_is_lost_before_it_is_ready_ends_them_all(bundle: Path) -> None:
    server = ServerProcess("--bundle", bundle, "--workers", "2", "--threads", "1")
    wait_until(lambda: len(workers_of(server)) == 2)
    os.kill(min(workers_of(server)), signal.SIGKILL)
    assert server.wait() == 2
    assert server.lines[-1] == "polyseme: a worker was ended by SIGKILL before it was ready"


@pytest.mark.slow
def test_a_worker_that_stands_still_is_killed(two: tuple[ServerProcess, httpx.Client]) -> None:
    server, client = two
    client.close()
    victim = min(workers_of(server))
    os.kill(victim, signal.SIGSTOP)
    server.wait_for(
        f"ERROR polyseme: worker {victim} is silent and gets killed$", timeout_s=SILENT_S + PATIENCE_S
    )
    server.wait_for(r"INFO polyseme: worker (\d+) serves$")
    assert victim not in workers_of(server)
    assert ask_alone(client.base_url).status_code == 200


def test_a_signal_while_they_start(bundle: Path) -> None:
    server = ServerProcess("--bundle", bundle, "--workers", "2", "--threads", "1")
    wait_until(lambda: len(workers_of(server)) == 2)
    server.popen.terminate()
    assert server.wait() == 0
    assert server.lines[-1].endswith("INFO polyseme: stopped")


def test_a_port_that_is_taken(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use$"):
            serve_with_workers(Settings(bundle=(bundle,), port=port, workers=2))
    assert FOLDER_VARIABLE not in os.environ


def test_the_error_is_one_line() -> None:
    assert str(WorkersError("one line")) == "one line"

"""The application on a Ray of the tests' own: started in a process that holds it, and everything below it.

Run as a program it is that process: each line that comes is what to deploy; the end of its input ends Ray.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until

ROOT = Path(__file__).resolve().parents[2]

REPLICA = "ray::ServeReplica:"
"""How the title of a replica's process begins."""

START_S = 3 * PATIENCE_S
"""Ray waits half a minute for itself and is started up to three times; it must not be waited for without an
end."""

CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Seconds between two reports of a replica to the controller; Ray's own 10 are long for a test.
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.5",
}


class RayServer:
    """One Ray on this machine, and one application on it."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log
        self.address = self._told()["address"]

    def deploy(self, **arguments: object) -> None:
        """Deploy the application with these arguments, in place of one before; return when it is there."""
        assert self._process.stdin is not None
        print(json.dumps(arguments, default=str), file=self._process.stdin, flush=True)
        assert self._told() == {"deployed": True}

    @property
    def replicas(self) -> list[int]:
        """The process ids of the replicas."""
        return [pid for pid, title in descendants(self._process.pid).items() if title.startswith(REPLICA)]

    def _told(self) -> Any:
        assert self._process.stdout is not None
        # One line is told for each that is asked for: none can wait in Python's own buffer.
        is_there, _, _ = select.select([self._process.stdout], [], [], START_S)
        line = self._process.stdout.readline() if is_there else ""
        assert line, self._log.read_text(errors="replace")
        return json.loads(line)


@contextmanager
def ray_server(variables: Mapping[str, str], num_cpus: int = 4) -> Iterator[RayServer]:
    """Start Ray, with so many CPUs to give away, and at the end see that nothing of it is left."""
    # A token of its own, or Ray would leave one in the user's home folder.
    environment = {**os.environ, **CLUSTER, "RAY_AUTH_TOKEN": secrets.token_hex(32), **variables}
    with tempfile.TemporaryDirectory(prefix="polyseme-ray-") as folder:  # short: Ray puts sockets into it
        command = [sys.executable, "-m", __name__, folder, str(num_cpus)]
        log = Path(folder, "log")
        with (
            log.open("wb") as stderr,
            subprocess.Popen(
                command, cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            ) as process,
        ):  # fmt: skip
            try:
                yield RayServer(process, log)
            finally:
                pids = list(descendants(process.pid))
                assert process.stdin is not None
                process.stdin.close()
                try:
                    process.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
                wait_until(lambda: not any(is_alive(pid) for pid in pids))


def descendants(pid: int) -> dict[int, str]:
    """Return the processes below this one, and how each is called."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        parent = int(stat.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(folder.name))
    found: dict[int, str] = {}
    waiting = children.get(pid, [])
    while waiting:
        child = waiting.pop()
        waiting += children.get(child, [])
        try:
            title = Path(f"/proc/{child}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if title:  # a process that has ended and is not waited for has none
            found[child] = title.replace(b"\0", b" ").decode(errors="replace")
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except (FileNotFoundError, ProcessLookupError):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: str, num_cpus: int) -> None:
    """Start Ray. It waits 30 seconds for itself, which a busy machine may need more of."""
    import ray

    for is_last in (False, False, True):
        try:
            ray.init(
                address="local", num_cpus=num_cpus, include_dashboard=False, _temp_dir=folder,
                object_store_memory=80 * 1024 * 1024, log_to_driver=False,
            )  # fmt: skip
            return
        except Exception as error:  # it raises no class of its own
            if is_last or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def main(folder: str, num_cpus: str) -> None:
    import ray
    from ray import serve

    from service.ray_app import app

    told = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray writes there, too
    start(folder, int(num_cpus))
    port = free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    print(json.dumps({"address": f"http://127.0.0.1:{port}"}), file=told)
    for line in sys.stdin:
        serve.run(app(json.loads(line)), name="polyseme")
        print(json.dumps({"deployed": True}), file=told)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

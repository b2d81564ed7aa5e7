"""The shards of a run as tasks of a Ray cluster.

Tasks, not Ray Data: the unit of work is a shard, which has its number and its place before it runs, and whose
file is whole or not there. So rows need no order between tasks, a task that runs twice writes the same file
again, and what a lost node was at is run anew by Ray on another, also on one that joins later. Ray Data would
name and order files by its own blocks, write the blocks it had before, and hold a corpus' rows in its plan.

The command reads the inputs, which only its machine needs to have, and sends each task its rows; vectors, a
thousand times as large, are written where they are made. A worker's process keeps its model between tasks.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from model.bundle import BundleError
from model.files import Precision
from service.bulk.encoder import Asked, Encoder
from service.bulk.jobs import Job
from service.bulk.local_engine import make_shards
from service.bulk.shard_file import Output
from service.engine.backend import open_backend
from service.engine.cpu import usable_cpus
from service.refusal import Refusal, one_line
from service.settings import SHIPPED_BUNDLE

MOST_LOST = 8
"""Times that a shard may lose its worker. One that kills every worker that takes it up must end."""

CONNECT_S = 5.0

SILENCE_S = 60.0
"""After which it is said what is waited for."""

TELEMETRY = "RAY_USAGE_STATS_ENABLED"


@dataclass(frozen=True)
class Worker:
    """What a task needs beside its rows."""

    bundle: Path | None  # None: the one that comes with the package, wherever that is
    sha256: str  # of the bundle: every node must have the same
    num_threads: int
    precision: Precision
    asked: Asked
    output: Output


@dataclass(frozen=True)
class Cluster:
    """Where to run."""

    address: str | None
    num_workers: int | None  # None: as many as there are CPUs for


def make_shards_on_ray(
    jobs: Iterable[Job],
    worker: Worker,
    cluster: Cluster,
    begun: Callable[[], object],
    told: Callable[[int, int, int], object],
) -> None:
    """As local_engine.make_shards, which each task runs. begun: called once the cluster is there; told: of
    every shard that is finished.

    Raises what the tasks raise; Refusal when there is no cluster, or when a shard loses its workers again and
    again.
    """
    import ray

    # Ray tells of lost nodes on standard output, where the summary goes, until it has ended.
    with redirect_stdout(sys.stderr):
        try:
            _connect(cluster)
            begun()
            _run(jobs, worker, cluster, told)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # without the task's traceback, which is a screen long
        except (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError,
        ) as error:
            lines = str(error).splitlines()
            raise Refusal(f"--engine ray: a file lost its worker {MOST_LOST + 1} times: {lines[0]}") from None
        finally:
            ray.shutdown()


def _connect(cluster: Cluster) -> None:
    import ray

    os.environ.setdefault(TELEMETRY, "0")
    address = cluster.address or os.environ.get("RAY_ADDRESS")
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address or "")
        ray.init(
            address=address or "local",
            num_cpus=None if address else usable_cpus(),
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own would end with another status
    except (OSError, ValueError, RuntimeError) as error:
        reason = one_line(error).partition("\n")[0]
        if address is None:
            raise Refusal(f"--engine ray: expected Ray to start on this machine, but: {reason}") from None
        raise Refusal(
            f"--ray-address: expected a running cluster at {address}, found none: {reason}"
        ) from None


def _knock(address: str) -> None:
    """Raise OSError when nobody answers at HOST:PORT: Ray itself would try again without an end."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


def _run(
    jobs: Iterable[Job], worker: Worker, cluster: Cluster, told: Callable[[int, int, int], object]
) -> None:
    import ray

    task = ray.remote(num_cpus=worker.num_threads, max_retries=MOST_LOST)(make_shard)
    spec = ray.put(worker)
    running: set[Any] = set()

    def take_one() -> None:
        done, _ = ray.wait(list(running), num_returns=1, timeout=SILENCE_S)
        for each in done:
            running.remove(each)
            told(*ray.get(each))
        if not done:
            _say_what_is_waited_for(worker)

    for job in jobs:
        while len(running) >= _most_at_once(worker, cluster):
            take_one()
        running.add(task.remote(spec, job))
    while running:
        take_one()


def _most_at_once(worker: Worker, cluster: Cluster) -> int:
    """Return how many tasks may be given out: one more than can run, so that no worker waits for the next."""
    import ray

    if cluster.num_workers is not None:
        return cluster.num_workers
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(resources.get("CPU", 0) // worker.num_threads) + 1


def _say_what_is_waited_for(worker: Worker) -> None:
    """No task may ever start, when no node is as large as it needs."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    largest = max((node["Resources"].get("CPU", 0) for node in nodes if node["Alive"]), default=0)
    print(
        f"polyseme: no file was finished for {SILENCE_S:.0f} s. Each is made with {worker.num_threads} CPUs "
        f"of one node (--threads); the largest node has {largest:.0f}",
        file=sys.stderr,
    )


def make_shard(worker: Worker, job: Job) -> tuple[int, int, int]:
    """The task: make the file of one shard. Return its numbers of characters, tokens and bad rows."""
    sizes: list[tuple[int, int, int]] = []
    make_shards([job], _encoder(worker), worker.output, lambda *size: sizes.append(size))
    num_characters, num_tokens, num_bad = map(sum, zip(*sizes, strict=True))
    return num_characters, num_tokens, num_bad


@lru_cache(maxsize=1)
def _encoder(worker: Worker) -> Encoder:
    """The model of this process, which lives on for the next task."""
    folder = worker.bundle or SHIPPED_BUNDLE
    backend = open_backend(folder, 1, worker.precision)
    if backend.sha256 != worker.sha256:
        raise BundleError(
            f"{folder}: expected the same bundle on every node, found another on {os.uname().nodename}"
        )
    return Encoder(backend, worker.asked, worker.num_threads)

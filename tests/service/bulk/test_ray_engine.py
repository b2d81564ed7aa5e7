"""A Ray cluster of two nodes, of which one is killed half-way: nothing is lost, nothing is twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.bundle import Bundle
from tests.patience import PATIENCE_S
from tests.service.bulk.conftest import Embed
from tests.service.processes import ROOT

pytestmark = pytest.mark.slow

NUM_ROWS = 400
NODE = {"num_cpus": 1, "object_store_memory": 80 * 1024 * 1024, "include_dashboard": False}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lines = [f"The bank of river number {i} was muddy, 강에서 배를 탔다" for i in range(NUM_ROWS)]
    lines[7], lines[200] = "", "\u200b"
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node, to which a test may add."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            yield cluster
        finally:
            cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def on_ray(bundle: Bundle, corpus: Path, out: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """Start the command on a cluster; whatever a test does, it ends with it."""
    command = [sys.executable, "-m", "service", "embed", str(corpus), str(out), "--engine", "ray", "--json"]
    command += ["--bundle", str(bundle.folder), *flags]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_node_is_killed_half_way(embed: Embed, bundle: Bundle, corpus: Path, cluster: Any) -> None:
    alone, out = corpus.with_name("alone"), corpus.with_name("out")
    assert embed(corpus, alone, "--shard-characters", 100) == 3
    doomed = cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    flags = ("--shard-characters", "100", "--ray-address", cluster.address)
    with on_ray(bundle, corpus, out, *flags) as command:
        deadline = time.monotonic() + 2 * PATIENCE_S
        while len(list(out.glob("part-*"))) < 20:
            assert command.poll() is None, command.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        num_before = len(list(out.glob("part-*")))
        cluster.remove_node(doomed, allow_graceful=False)
        printed, log = command.communicate(timeout=2 * PATIENCE_S)
    assert command.returncode == 3, log
    summary = json.loads(printed)
    assert num_before < summary["files"] == summary["files_made"]
    assert (summary["rows"], summary["bad"]) == (NUM_ROWS, 2)
    assert_same(alone, out)


def assert_same(alone: Path, out: Path) -> None:
    """The same rows, order, tokens and offsets; vectors within 1e-5."""
    assert (alone / "_bad_rows.jsonl").read_text("utf-8") == (out / "_bad_rows.jsonl").read_text("utf-8")
    expected, found = pq.read_table(alone), pq.read_table(out)
    assert found.drop(["vectors"]).equals(expected.drop(["vectors"]))
    for one, other in zip(expected["vectors"], found["vectors"], strict=True):
        np.testing.assert_allclose(np.array(other.as_py()), np.array(one.as_py()), rtol=0, atol=1e-5)


def test_what_a_task_cannot_write_is_one_line(bundle: Bundle, corpus: Path, cluster: Any) -> None:
    out = corpus.with_name("out")
    flags = ("--shard-characters", "2000", "--ray-address", cluster.address)
    with on_ray(bundle, corpus, out, *flags, "--ray-workers", "1") as command:
        _, log = command.communicate(timeout=2 * PATIENCE_S)
    assert command.returncode == 3, log
    (out / "part-000003.parquet").unlink()
    (out / "part-000003.parquet").mkdir()  # stands where the file is to go
    with on_ray(bundle, corpus, out, *flags) as command:
        _, log = command.communicate(timeout=2 * PATIENCE_S)
    assert command.returncode == 2, log
    assert log.splitlines()[-1].startswith(f"polyseme: {out}")
    assert log.splitlines()[-1].endswith(": Is a directory")


def test_a_cluster_that_is_not_there(bundle: Bundle, corpus: Path) -> None:
    out = corpus.with_name("out")
    with on_ray(bundle, corpus, out, "--ray-address", "127.0.0.1:1") as command:
        _, log = command.communicate(timeout=2 * PATIENCE_S)
    assert command.returncode == 2, log
    assert log.splitlines()[-1].startswith(
        "polyseme: --ray-address: expected a running cluster at 127.0.0.1:1"
    )

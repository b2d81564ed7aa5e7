"""The scripts in examples/, run as they stand against the shipped bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.processes import server_process

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    tasks = tmp_path_factory.mktemp("examples") / "tasks.sqlite"
    with server_process("--tasks-path", tasks) as (_, client):
        yield client


def run(script: str, client: httpx.Client) -> str:
    command = [sys.executable, str(EXAMPLES / script), str(client.base_url).rstrip("/")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_scikit_learn_classifier_on_served_vectors(client: httpx.Client) -> None:
    found = re.fullmatch(
        r"40 vectors of 1024; accuracy in 5 folds: (.+)\n", run("scikit_learn_classifier.py", client)
    )
    assert found
    assert float(found[1]) >= 0.65  # chance is 0.5


def test_a_network_of_one_s_own_learns_a_mix_that_is_served(client: httpx.Client) -> None:
    first, last, weights = run("own_network.py", client).splitlines()
    losses = [float(line.rpartition(" ")[2]) for line in (first, last)]
    assert losses[0] > 0.5
    assert losses[1] < 0.1
    served = json.loads(weights.removeprefix("served weights: "))
    assert sum(served) == pytest.approx(1, abs=0.01)
    assert served != pytest.approx([1 / 3] * 3, abs=1e-3)
    assert client.get("/v1/tasks/my-mix").json()["head"] is None


def test_every_script_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []

"""Two gloo processes on one machine, as `torchrun` starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.conftest import copy_workspace
from tests.training.runs import REPOSITORY, TOKENS_PER_STEP, resumed, tiny_config, trainer, write_config
from training.checkpoint import load_checkpoint
from training.distributed import Processes
from training.workspace import Workspace

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*TORCHRUN, "-m", "training", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


# One process


def test_one_process_is_the_first_and_has_every_row() -> None:
    processes = Processes()
    assert (processes.count, processes.rank, processes.is_first) == (1, 0, True)
    assert processes.rows(8) == range(8)
    assert processes.sum([1, 2.5]) == [1, 2.5]
    rows = torch.arange(3)
    assert processes.gather_rows(rows, 0) is rows
    done = {1, 2}
    processes.run_in_first(lambda: done.remove(1))
    assert done == {2}
    with pytest.raises(KeyError):
        processes.run_in_first(lambda: done.remove(1))
    processes.close()


def test_rows_are_dealt_in_order_and_must_come_out_even() -> None:
    processes = Processes()
    processes.count = 4
    dealt = []
    for rank in range(4):
        processes.rank = rank
        dealt.append(processes.rows(8))
    assert dealt == [range(2), range(2, 4), range(4, 6), range(6, 8)]
    for batch_size in (1, 6, 9):
        message = f"training.batch_size: expected a multiple of 4 processes, got {batch_size}"
        with pytest.raises(ValueError, match=message):
            processes.rows(batch_size)


# Two processes


def test_two_processes_share_sums_rows_gradients_and_failures() -> None:
    code = """
import json
import torch
from training.distributed import Processes

processes = Processes()
rank = processes.rank
parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 2), (3,), (1,))]
parameters[0].grad = torch.full((2, 2), 1.0 + rank)
parameters[1].grad = torch.arange(3.0) * rank
processes.average_gradients(parameters)

done = []
processes.run_in_first(lambda: done.append(rank))

def fail():
    raise KeyError("torn")

try:
    processes.run_in_first(fail)
except Exception as error:
    failure = repr(error)

try:
    processes.rows(7)
except ValueError as error:
    refusal = str(error)

result = {
    "is_first": processes.is_first,
    "rows": list(processes.rows(6)),
    "sum": processes.sum([rank + 1, 0.5, True]),
    "gathered": processes.gather_rows(torch.tensor([[rank, 10 + rank]]), 0).tolist(),
    "gathered columns": processes.gather_rows(torch.tensor([[rank], [10 + rank]]), 1).tolist(),
    "gradients": [None if p.grad is None else p.grad.tolist() for p in parameters],
    "done": done,
    "failure": failure,
    "refusal": refusal,
}
processes.close()
print(json.dumps(result))
"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=REPOSITORY,
            env={**ENVIRONMENT, **address, "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    results = [json.loads(process.communicate()[0]) for process in started]
    alike = {
        "refusal": "training.batch_size: expected a multiple of 2 processes, got 7",
        "sum": [3, 1, 2],
        "gathered": [[0, 10], [1, 11]],
        "gathered columns": [[0, 1], [10, 11]],
        "gradients": [[[1.5, 1.5], [1.5, 1.5]], [0, 0.5, 1], None],
    }
    first = {"is_first": True, "rows": [0, 1, 2], "done": [0], "failure": "KeyError('torn')"}
    failure = "ValueError('the first process has failed and says why')"
    second = {"is_first": False, "rows": [3, 4, 5], "done": [], "failure": failure}
    assert results == [alike | first, alike | second]


def test_two_processes_train_as_one_does_and_one_goes_on_from_there(
    prepared: Workspace, tmp_path: Path
) -> None:
    exact: dict[str, Any] = {"precision": "float32", "dropout": 0.0, "decay_fraction": 0.0}
    path = write_config(tmp_path, total_tokens=10 * TOKENS_PER_STEP, evaluate_every_steps=2, **exact)
    shared = Workspace(tmp_path / "shared")
    done = torchrun("train", str(path), "--work", str(shared.folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("held-out perplexity") == 5  # one process speaks

    alone = copy_workspace(prepared, tmp_path / "alone")
    assert trainer(tiny_config(tmp_path, steps=10, evaluate_every_steps=2, **exact), alone).run()
    compare(shared, alone)

    longer = tiny_config(tmp_path, steps=16, evaluate_every_steps=2, **exact)
    for workspace in (shared, alone):
        assert resumed(longer, workspace).run()
    compare(shared, alone)


@pytest.mark.slow
def test_two_processes_go_on_with_what_one_has_begun(prepared: Workspace, tmp_path: Path) -> None:
    exact: dict[str, Any] = {"precision": "float32", "dropout": 0.0, "decay_fraction": 0.0}
    shared, alone = (copy_workspace(prepared, tmp_path / name) for name in ("shared", "alone"))
    for workspace in (shared, alone):
        assert trainer(tiny_config(tmp_path, steps=6, evaluate_every_steps=2, **exact), workspace).run()
    path = write_config(tmp_path, total_tokens=12 * TOKENS_PER_STEP, evaluate_every_steps=2, **exact)
    done = torchrun("train", str(path), "--work", str(shared.folder), "--resume")
    assert done.returncode == 0, done.stderr
    assert resumed(tiny_config(tmp_path, steps=12, evaluate_every_steps=2, **exact), alone).run()
    compare(shared, alone)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["batch", "text"])
def test_every_process_says_in_one_line_what_is_wrong(wrong: str, tmp_path: Path) -> None:
    """What follows in the output is torchrun's own report."""
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"good\n\xff\n")
    path = write_config(tmp_path, batch_size=7 if wrong == "batch" else 8)
    options = ("--train", f"en={bad}", "--train", f"ko={bad}") if wrong == "text" else ()
    done = torchrun("train", str(path), "--work", str(tmp_path / "work"), *options)
    assert done.returncode == 1
    said = sorted(line for line in done.stderr.splitlines() if line.startswith("polyseme-train: "))
    if wrong == "batch":
        assert said == ["polyseme-train: training.batch_size: expected a multiple of 2 processes, got 7"] * 2
    else:
        assert said == [
            f"polyseme-train: {bad}: line 2 is not UTF-8: invalid start byte",
            "polyseme-train: the first process has failed and says why",
        ]
    assert str(REPOSITORY / "training") not in done.stderr  # no stack trace of ours
    assert not (tmp_path / "work").exists()


def compare(shared: Workspace, alone: Workspace) -> None:
    """Equal but for the order in which sums are made."""
    entries, expected = shared.record(), alone.record()
    assert [entry["step"] for entry in entries] == [entry["step"] for entry in expected]
    for entry, other in zip(entries, expected, strict=True):
        for key in entry.keys() & {"heldout", "forward", "backward", "gradient_norm"}:
            assert entry[key] == pytest.approx(other[key], rel=1e-5), (entry["step"], key)
    (tensors, progress), (expected_tensors, other_progress) = (
        load_checkpoint(workspace.checkpoint_path) for workspace in (shared, alone)
    )
    assert (progress.step, progress.tokens) == (other_progress.step, other_progress.tokens)
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in expected_tensors.items():
        assert tensors[name].shape == tensor.shape, name
    for name in ("positions.0", "positions.1"):
        assert torch.equal(tensors[name], expected_tensors[name])
    for name in ("state.0.1.0", "state.1.1.1"):
        np.testing.assert_allclose(tensors[name], expected_tensors[name], atol=1e-4)

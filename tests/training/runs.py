"""What the tests of training share: a small configuration, a run in this process, a run in one of its own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from training import loop
from training.__main__ import main
from training.checkpoint import Progress, load_checkpoint
from training.config import Config
from training.distributed import Processes
from training.pipeline import read_config
from training.workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
TINY = REPOSITORY / "training" / "configs" / "tiny.toml"

TOKENS_PER_STEP = 128
"""batch_size x bptt_length of tiny.toml."""

LONG = {"checkpoint_every_s": 1e9, "evaluate_every_steps": 10}
"""Settings of a run with no checkpoint but the last."""

STEP_CLOCK = """
import os, signal, sys
from types import SimpleNamespace
import training.loop as loop
from training.__main__ import main

number, at_step, *arguments = sys.argv[1:]
steps = 0
take_step = loop.Trainer._step

def step(trainer, bar):
    global steps
    if trainer.progress.step == int(at_step):
        os.kill(os.getpid(), int(number))
    take_step(trainer, bar)
    steps += 1

loop.Trainer._step = step
loop.time = SimpleNamespace(monotonic=lambda: float(steps))
loop.RECORD_EVERY_STEPS = 1
sys.exit(main(arguments))
"""
"""A driver for `run_python(STEP_CLOCK, SIGNAL, STEP, *arguments)`: `polyseme-train` with these arguments,
where a step takes one second by its own clock, every step is recorded, and at a certain step a signal
arrives.
"""


class StepClock:
    """Time by which every step takes a second; optionally a signal arrives in a step."""

    def __init__(self, patch: pytest.MonkeyPatch, at_step: int = -1, number: int = 0) -> None:
        self.steps = 0
        take_step = loop.Trainer._step

        def step(trainer: loop.Trainer, bar: Any) -> None:
            if trainer.progress.step == at_step:
                os.kill(os.getpid(), number)
            take_step(trainer, bar)
            self.steps += 1

        patch.setattr(loop.Trainer, "_step", step)
        patch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(self.steps)))


def write_config(folder: Path, **changed: Any) -> Path:
    """Write tiny.toml with other values of [training] or [model], given as Python values that TOML writes
    alike.
    """
    text = TINY.read_text(encoding="utf-8").replace("../../tests/data", str(REPOSITORY / "tests" / "data"))
    for name, value in changed.items():
        literal = f'"{value}"' if isinstance(value, str) else str(value).lower()
        text, found = re.subn(rf"^{name} = .*$", f"{name} = {literal}", text, flags=re.MULTILINE)
        if not found:
            text += f"{name} = {literal}\n"  # [training] is the last section
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tiny_config(folder: Path, *, steps: int, **changed: Any) -> Config:
    path = write_config(folder, total_tokens=steps * TOKENS_PER_STEP, **changed)
    return read_config(path, {}, {})


def trainer(
    config: Config, workspace: Workspace, initial: dict[str, torch.Tensor] | None = None
) -> loop.Trainer:
    return loop.Trainer(config, workspace, Processes(), initial)


def resumed(config: Config, workspace: Workspace) -> loop.Trainer:
    again = trainer(config, workspace)
    again.resume()
    return again


def record(workspace: Workspace) -> list[dict[str, Any]]:
    """Return the run's record without what it took: everything else must repeat itself."""
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in workspace.record()]


def losses(workspace: Workspace) -> dict[int, tuple[float, float]]:
    """Return the losses by step. Fails when a step is there twice."""
    entries = [entry for entry in workspace.record() if "forward" in entry]
    by_step = {entry["step"]: (entry["forward"], entry["backward"]) for entry in entries}
    assert len(by_step) == len(entries)
    return by_step


def assert_same_checkpoint(path: Path, expected: Path) -> None:
    """Both hold the same bits, and have come as far; how long that took is another matter."""
    tensors, progress = load_checkpoint(path)
    expected_tensors, expected_progress = load_checkpoint(expected)
    assert_same_tensors(tensors, expected_tensors)
    assert without_time(progress) == without_time(expected_progress)


def assert_same_tensors(tensors: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert tensors.keys() == expected.keys()
    different = [name for name, tensor in expected.items() if not torch.equal(tensors[name], tensor)]
    assert different == []


def without_time(progress: Progress) -> dict[str, Any]:
    """The settings may change from one session of a run to the next."""
    return {key: value for key, value in vars(progress).items() if key not in ("seconds", "settings")}


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that fails, and return its one line."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    (line,) = captured.err.splitlines()
    assert line.startswith("polyseme-train: ")
    return line.removeprefix("polyseme-train: ")


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """Let every write beyond this size fail, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_documents(path: Path, *documents: list[str]) -> Path:
    """Write a text file: a document is a list of lines."""
    path.write_text("\n\n".join("\n".join(lines) for lines in documents) + "\n", encoding="utf-8")
    return path


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["-c", code, *arguments])


def polyseme_train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(["-m", "training", *arguments])


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in the tests' own process
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

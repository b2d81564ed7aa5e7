from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import copy_workspace
from tests.training.runs import (
    LONG,
    STEP_CLOCK,
    TOKENS_PER_STEP,
    StepClock,
    assert_same_checkpoint,
    losses,
    record,
    resumed,
    run_python,
    tiny_config,
    trainer,
    write_config,
)
from training import loop
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.workspace import Workspace

pytestmark = pytest.mark.usefixtures("every_step")


@pytest.fixture(scope="module")
def uninterrupted(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Workspace]:
    """A run of 30 steps, and its configuration's folder."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    workspace = copy_workspace(prepared, folder / "work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "RECORD_EVERY_STEPS", 1)
        assert trainer(tiny_config(folder, steps=30, evaluate_every_steps=7), workspace).run()
    return folder, workspace


def test_a_run_killed_in_mid_step_and_resumed_is_the_uninterrupted_one(
    uninterrupted: tuple[Path, Workspace], workspace: Workspace, tmp_path: Path
) -> None:
    """Checkpoints at steps 8 and 16, evaluations at 7, 14, 21, 28; killed in the step after the 19th."""
    steps = {"total_tokens": 30 * TOKENS_PER_STEP, "evaluate_every_steps": 7}
    path = write_config(tmp_path, checkpoint_every_s=8, **steps)
    arguments = ("train", str(path), "--work", str(workspace.folder))
    done = run_python(STEP_CLOCK, str(int(signal.SIGKILL)), "19", *arguments)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 16
    assert workspace.record()[-1]["step"] == 19

    again = resumed(tiny_config(tmp_path, steps=30, evaluate_every_steps=7), workspace)
    assert again.progress.step == 16
    assert again.run()
    _, expected = uninterrupted
    assert record(workspace) == record(expected)
    assert list(losses(workspace)) == list(range(1, 31))
    assert_same_checkpoint(workspace.checkpoint_path, expected.checkpoint_path)
    assert_same_checkpoint(workspace.best_path, expected.best_path)
    assert_same_checkpoint(workspace.stable_checkpoint_path, expected.stable_checkpoint_path)


@pytest.mark.parametrize(
    ("number", "at_step"), [(signal.SIGTERM, 0), (signal.SIGINT, 13), (signal.SIGTERM, 22)]
)
def test_an_interrupt_finishes_the_step_saves_and_can_be_resumed(
    number: signal.Signals,
    at_step: int,
    uninterrupted: tuple[Path, Workspace],
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    """Step 22 is the one that comes into the part where the rate falls."""
    config = tiny_config(tmp_path, steps=30, evaluate_every_steps=7, checkpoint_every_s=1e9)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        StepClock(patch, at_step, number)
        assert trainer(config, workspace).run() is False
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert load_checkpoint(workspace.checkpoint_path)[1].step == at_step + 1

    assert resumed(config, workspace).run() is True
    _, expected = uninterrupted
    assert record(workspace) == record(expected)
    assert_same_checkpoint(workspace.checkpoint_path, expected.checkpoint_path)
    assert_same_checkpoint(workspace.stable_checkpoint_path, expected.stable_checkpoint_path)


def test_a_second_ctrl_c_stops_at_once(workspace: Workspace, tmp_path: Path) -> None:
    with loop.Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupt.requested
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_checkpoints_are_written_as_often_as_is_asked_for(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[tuple[str, int]] = []

    def save(path: Path, tensors: dict[str, torch.Tensor], progress: Progress) -> None:
        saved.append((path.name, progress.step))
        save_checkpoint(path, tensors, progress)

    monkeypatch.setattr(loop, "save_checkpoint", save)
    StepClock(monkeypatch)
    config = tiny_config(
        tmp_path, steps=19, decay_fraction=0.5, checkpoint_every_s=4, evaluate_every_steps=100
    )
    assert trainer(config, workspace).run()
    assert saved == [
        ("last.safetensors", 4),
        ("last.safetensors", 8),
        ("before_decay.safetensors", 10),
        ("last.safetensors", 12),
        ("last.safetensors", 16),
        ("best.safetensors", 19),
        ("last.safetensors", 19),
    ]


def test_a_finished_run_goes_on_when_it_is_given_more_tokens(workspace: Workspace, tmp_path: Path) -> None:
    longer = copy_workspace(workspace, tmp_path / "longer")
    constant: dict[str, Any] = {**LONG, "decay_fraction": 0.0}
    assert trainer(tiny_config(tmp_path, steps=10, **constant), workspace).run()
    twenty = tiny_config(tmp_path, steps=20, **constant)
    assert resumed(twenty, workspace).run()
    assert trainer(twenty, longer).run()
    assert record(workspace) == record(longer)
    assert_same_checkpoint(workspace.checkpoint_path, longer.checkpoint_path)


def test_a_longer_run_starts_from_the_checkpoint_before_the_fall(
    workspace: Workspace, tmp_path: Path
) -> None:
    longer = copy_workspace(workspace, tmp_path / "longer")
    falling: dict[str, Any] = {**LONG, "decay_fraction": 0.5}
    assert trainer(tiny_config(tmp_path, steps=20, **falling), workspace).run()
    assert load_checkpoint(workspace.stable_checkpoint_path)[1].step == 10
    workspace.stable_checkpoint_path.replace(workspace.checkpoint_path)
    assert resumed(tiny_config(tmp_path, steps=30, **falling), workspace).run()
    assert trainer(tiny_config(tmp_path, steps=30, **falling), longer).run()
    assert record(workspace) == record(longer)
    assert_same_checkpoint(workspace.checkpoint_path, longer.checkpoint_path)
    assert_same_checkpoint(workspace.stable_checkpoint_path, longer.stable_checkpoint_path)


def test_a_finished_run_that_is_resumed_has_nothing_to_do(
    uninterrupted: tuple[Path, Workspace], tmp_path: Path
) -> None:
    folder, finished = uninterrupted
    workspace = copy_workspace(finished, tmp_path / "work")
    assert resumed(tiny_config(folder, steps=30, evaluate_every_steps=7), workspace).run()
    assert record(workspace) == record(finished)
    assert_same_checkpoint(workspace.checkpoint_path, finished.checkpoint_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden_dim": 16},
        {"cell": "gru"},
        {"num_layers": 1},
        {"adaptive_cutoffs": []},
        {"batch_size": 4},
        {"bptt_length": 8},
        {"seed": 2},
        {"reset_probability": 0.5},
    ],
)
def test_another_configuration_is_not_resumed(
    changed: dict[str, Any], uninterrupted: tuple[Path, Workspace], tmp_path: Path
) -> None:
    _, finished = uninterrupted
    with pytest.raises(ValueError, match=r"last\.safetensors: belongs to another configuration or text"):
        resumed(tiny_config(tmp_path, steps=40, **changed), finished)


def test_what_may_change_in_mid_run(uninterrupted: tuple[Path, Workspace], tmp_path: Path) -> None:
    _, finished = uninterrupted
    workspace = copy_workspace(finished, tmp_path / "work")
    changed: dict[str, Any] = {
        "learning_rate": 1e-4,
        "warmup_steps": 0,
        "decay_fraction": 0.0,
        "dropout": 0.0,
        "precision": "float32",
        "evaluate_every_steps": 3,
        "checkpoint_every_s": 0,
        "patience": 100,
        "clip_norm": 0.5,
    }
    config = tiny_config(tmp_path, steps=40, **changed)
    again = resumed(config, workspace)
    before = {name: tensor.clone() for name, tensor in again.model.state_dict().items()}
    assert again.run()

    tensors, progress = load_checkpoint(workspace.checkpoint_path)
    assert (progress.step, progress.tokens) == (40, 40 * TOKENS_PER_STEP)
    assert {name: progress.settings[name] for name in changed} == changed
    evaluated = [entry["step"] for entry in workspace.record() if "heldout" in entry]
    assert evaluated == [7, 14, 21, 28, 30, 33, 36, 39, 40]
    assert {tensors[name].dtype for name in tensors if name.startswith("state.")} == {torch.float32}
    assert {group["lr"] for group in again.optimizer.param_groups} == {1e-4}
    # AdamW moves a weight by about the learning rate in each step, and at most by a few times as much.
    moved = max(float((tensors[name] - tensor).abs().max()) for name, tensor in before.items())
    assert 3e-4 < moved < 3e-3
    # It goes on from where it was, at the new rate's slow pace: with weights lost or the rate not changed,
    # the held-out loss would be elsewhere.
    assert list(losses(workspace)) == list(range(1, 41))
    heldout = {entry["step"]: entry["heldout"] for entry in workspace.record() if "heldout" in entry}
    assert heldout[40] < heldout[39] < heldout[36] < heldout[33]
    assert heldout[33] == pytest.approx(heldout[30], abs=0.05)
    assert heldout[33] - heldout[40] < 0.05 * (heldout[7] - heldout[30])


def test_weights_alone_are_not_resumed(uninterrupted: tuple[Path, Workspace], tmp_path: Path) -> None:
    folder, finished = uninterrupted
    workspace = copy_workspace(finished, tmp_path / "work")
    workspace.best_path.replace(workspace.checkpoint_path)
    with pytest.raises(ValueError, match=r"last\.safetensors: cannot be resumed: positions\.0 is missing"):
        resumed(tiny_config(folder, steps=30), workspace)


def test_nothing_is_not_resumed(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"last\.safetensors: no such checkpoint"):
        resumed(tiny_config(tmp_path, steps=20), workspace)


def test_a_run_that_starts_again_forgets_the_record_of_its_first_attempt(
    workspace: Workspace, tmp_path: Path
) -> None:
    """As after a kill before the first checkpoint, in the middle of writing a line."""
    workspace.record_path.write_text('{"step": 1, "forward": 1, "backward": 1}\n{"step": 5')
    assert trainer(tiny_config(tmp_path, steps=3, **LONG), workspace).run()
    assert list(losses(workspace)) == [1, 2, 3]
    assert losses(workspace)[1] != (1, 1)

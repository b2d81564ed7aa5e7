"""The command line: runs that end, that are interrupted, that are resumed."""

from __future__ import annotations

import math
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.runs import (
    REPOSITORY,
    TOKENS_PER_STEP,
    StepClock,
    losses,
    polyseme_train,
    refused,
    write_config,
)
from training import loop
from training.__main__ import main
from training.checkpoint import load_checkpoint
from training.corpus import PackedCorpus
from training.workspace import Workspace


def test_the_tokenizer_command_prepares_and_says_so(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tokenizer", config, "--work", str(tmp_path / "work")]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "learning a vocabulary of 1200 pieces from 398 lines",
        "packed 13,076 tokens of training text",
    ]
    assert len(PackedCorpus(tmp_path / "work" / "packed" / "train")) == 13076


def test_a_run_that_is_there_already_is_neither_begun_again_nor_mixed_with_another(
    config: str, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --resume it goes on, unless the configuration is another or the checkpoint broken."""
    work = workspace.folder
    assert main(["train", config, "--work", str(work)]) == 0
    before = workspace.checkpoint_path.read_bytes()
    capsys.readouterr()
    assert refused(capsys, "train", config, "--work", work) == (
        f"{work}: holds a run already; go on with --resume, or name another folder"
    )
    other = write_config(tmp_path, hidden_dim=16)
    assert refused(capsys, "train", other, "--work", work, "--resume").startswith(
        f"{work}/last.safetensors: belongs to another configuration or text; only total_tokens, "
    )
    assert workspace.checkpoint_path.read_bytes() == before

    longer = write_config(tmp_path, total_tokens=6 * TOKENS_PER_STEP)
    assert main(["train", str(longer), "--work", str(work), "--resume"]) == 0
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 6

    workspace.checkpoint_path.write_bytes(before[:-1])
    capsys.readouterr()
    assert refused(capsys, "train", longer, "--work", work, "--resume").startswith(
        f"{work}/last.safetensors: not a checkpoint: "
    )


def test_ctrl_c_exits_with_130_and_the_run_can_be_resumed(
    config: str,
    workspace: Workspace,
    every_step: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["train", config, "--work", str(workspace.folder)]
    with monkeypatch.context() as patch:
        StepClock(patch, 2, signal.SIGINT)
        assert main(arguments) == 130
    assert capsys.readouterr().err.split("\n")[-2:] == ["polyseme-train: interrupted", ""]
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 3
    assert main([*arguments, "--resume"]) == 0
    assert list(losses(workspace)) == [1, 2, 3, 4]


def test_ctrl_c_before_training_exits_with_130_and_leaves_no_half_vocabulary(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("training.pipeline.build_alphabet", interrupt)
    assert main(["train", config, "--work", str(tmp_path / "work")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "polyseme-train: interrupted"
    assert not Workspace(tmp_path / "work").alphabet_path.exists()
    monkeypatch.undo()
    assert main(["tokenizer", config, "--work", str(tmp_path / "work")]) == 0


def test_an_error_in_mid_run_stands_on_a_line_of_its_own(
    config: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_step = loop.Trainer._step

    def step(trainer: loop.Trainer, bar: Any) -> None:
        if trainer.progress.step == 2:
            with torch.no_grad():
                trainer.model.softmax.get_parameter("head.bias")[0] = math.nan
        take_step(trainer, bar)

    monkeypatch.setattr(loop.Trainer, "_step", step)
    assert main(["train", config, "--work", str(workspace.folder)]) == 2
    bar_and_error = capsys.readouterr().err.split("\n")
    assert "0/512" in bar_and_error[0]
    assert bar_and_error[1:] == [
        "polyseme-train: the loss is not finite at step 2: lower training.learning_rate",
        "",
    ]


def test_a_full_disk_while_packing_costs_one_line_even_where_a_bar_is_drawn(
    config: str, workspace: Workspace, tmp_path: Path
) -> None:
    """On a terminal: the bar is gone from the line that the error is written on."""
    for part in ("corpus.json", "token_ids.bin"):
        (workspace.train_path / part).unlink()
    code = """
import resource, sys
from training.__main__ import main

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sys.exit(main(sys.argv[1:]))
"""
    terminal, stderr = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.Popen(
        [sys.executable, "-c", code, "tokenizer", config, "--work", str(workspace.folder)],
        cwd=REPOSITORY,
        stderr=stderr,
    )
    os.close(stderr)
    written = b""
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            data = b""
        if not data:
            break
        written += data
    os.close(terminal)
    assert done.wait() == 2
    lines = written.decode().replace("\r\n", "\n").split("\n")
    assert len(lines) == 2
    assert lines[1] == ""
    *bars, error = lines[0].split("\r")
    assert any(bar.startswith("pack corpus.") for bar in bars)
    assert bars[-1].strip() == ""
    assert error.startswith("polyseme-train: ")
    assert "pack" not in error
    assert not workspace.is_packed(workspace.train_path)


def test_the_installed_command_is_this_one() -> None:
    done = polyseme_train("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: polyseme-train [-h] COMMAND ...")

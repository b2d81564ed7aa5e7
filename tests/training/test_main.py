"""The command line. What a user can do wrong costs one line and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.training.runs import (
    REPOSITORY,
    TOKENS_PER_STEP,
    refused,
    run_python,
    write_config,
)
from training.__main__ import main
from training.workspace import Workspace

KOREAN = REPOSITORY / "tests" / "data" / "corpus.ko.txt"
COMMANDS = ["run", "tokenizer", "train", "evaluate", "perplexity", "baseline", "curves", "export", "probe"]
COMMANDS += ["import"]


# Help and options


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([command, "--help"])
    assert done.value.code == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"usage: polyseme-train {command} ")
    assert captured.err == ""


def test_the_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    listed = [line.split()[0] for line in text.splitlines() if line.startswith("    ") and line[4] != " "]
    assert listed == COMMANDS
    assert "Exit status: 0 when it is done; 2, with one line" in " ".join(text.split())


def test_help_does_not_wait_for_torch() -> None:
    code = """
import sys
from training.__main__ import main
try:
    main(["train", "--help"])
finally:
    print({"torch", "numpy", "sentencepiece"} & set(sys.modules), file=sys.stderr)
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "set()\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "--work", "w"], "the following arguments are required: CONFIG"),
        (["train", "c.toml", "--work", "w", "--epochs", "3"], "unrecognized arguments: --epochs 3"),
        (
            ["train", "c.toml", "--work", "w", "--train", "texts"],
            "expected LANGUAGE=PATH, such as en=texts/, got",
        ),
        (["train", "c.toml", "--work", "w", "--heldout", "=a.txt"], "expected LANGUAGE=PATH"),
        (["train", "c.toml", "--work", "w", "--heldout", "en="], "expected LANGUAGE=PATH"),
        (
            ["train", "c.toml", "--work", "w", "--resume", "--init-from", "b"],
            "argument --init-from: not allowed with argument --resume",
        ),
        (["evaluate", "b"], "the following arguments are required: --heldout"),
    ],
)
def test_a_mistyped_command_exits_with_2_and_says_why_in_its_last_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err.splitlines()[-1]


# What is wrong is said before anything is made


@pytest.mark.parametrize("command", ["tokenizer", "train", "run"])
def test_a_configuration_that_is_wrong(
    command: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    none = tmp_path / "none.toml"
    assert refused(capsys, command, none, "--work", work) == f"{none}: No such file or directory"
    wrong: dict[str, Any]
    for wrong, message in (
        (
            {"learning_rte": 1},
            "training.learning_rte: unknown field, expected one of total_tokens, batch_size, ",
        ),
        ({"dropout": "a lot"}, "training.dropout: expected float, got 'a lot'"),
        ({"dropout": 2}, "training.dropout: expected 0 to 0.999, got 2.0"),
        ({"adaptive_cutoffs": [600, 200]}, "model.adaptive_cutoffs: expected increasing values"),
    ):
        path = write_config(tmp_path, **wrong)
        assert refused(capsys, command, path, "--work", work).startswith(f"{path}: {message}")
    assert not work.exists()


@pytest.mark.parametrize("option", ["--train", "--heldout"])
@pytest.mark.parametrize("command", ["tokenizer", "train", "run"])
@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.txt", b"", "no text in this file"),
        ("blank.txt", b" \n\t\r\n\n", "no text in this file"),
        ("late.txt", b"good\n\n" * 2000 + b"\xc3(\n", "line 4001 is not UTF-8: invalid continuation byte"),
        ("latin.txt", "caf\u00e9".encode("latin-1"), "line 1 is not UTF-8: unexpected end of data"),
        ("utf16.txt", "text".encode("utf-16"), "line 1 is not UTF-8: invalid start byte"),
        ("text.gz", b"text", "expected a file named *.txt, *.txt.gz, *.txt.xz"),
        ("text.txt.gz", b"text", "cannot be decompressed: "),
        ("none.txt", None, "no such file"),
    ],
)
def test_a_text_that_is_wrong(
    command: str,
    option: str,
    name: str,
    data: bytes | None,
    message: str,
    config: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    texts = (option, f"en={path}", option, f"ko={KOREAN}")
    line = refused(capsys, command, config, "--work", tmp_path / "work", *texts)
    assert line.startswith(f"{path}: {message}")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_language_that_is_named_and_not_read_or_read_and_not_named(
    command: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ("--work", tmp_path / "work")
    assert refused(capsys, command, config, *work, "--train", f"ko={KOREAN}") == (
        "bundle.languages: expected text of every language in data.train, got none of 'en'"
    )
    assert refused(capsys, command, config, *work, "--heldout", f"kr={KOREAN}") == (
        "data.heldout: expected a language of bundle.languages (en, ko), got 'kr'"
    )
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("command", ["train", "run"])
def test_a_network_or_a_window_larger_than_the_memory(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size in ({"hidden_dim": 100_000}, {"batch_size": 1_000_000, "bptt_length": 1_000_000}):
        path = write_config(tmp_path, **size)
        line = refused(capsys, command, path, "--work", tmp_path / "work")
        assert line.startswith("the network needs at least ")
        assert line.endswith("training.batch_size or training.bptt_length for the window")
    assert not (tmp_path / "work").exists()


def test_a_text_shorter_than_one_batch(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "short.txt"
    path.write_text("The river bank.\n")
    texts = ("--train", f"en={path}", "--train", f"ko={path}")
    line = refused(capsys, "run", config, "--work", tmp_path / "work", *texts)
    assert line == (
        "data.train: shorter than one batch: expected 136 characters or more, for a batch is "
        "batch_size x (bptt_length + 1) = 136 tokens"
    )
    assert not (tmp_path / "work").exists()


def test_a_vocabulary_too_large_for_the_text(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.txt"
    path.write_text("The river bank.\n" * 20)
    assert main(["tokenizer", config, "--work", str(tmp_path / "work"), "--train", f"en={path}"]) == 2
    said, error = capsys.readouterr().err.splitlines()
    assert said == "learning a vocabulary of 1200 pieces from 20 lines"
    assert (
        "tokenizer.vocabulary_size: SentencePiece cannot learn it from this text: Vocabulary size too"
        in error
    )


@pytest.mark.parametrize("command", ["tokenizer", "train", "run"])
def test_a_folder_that_cannot_be_written(
    command: str, config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in its place, or the kernel's own files: permissions would not stop root."""
    file = tmp_path / "file"
    file.touch()
    for work, reason in (
        (file, "File exists"),
        (file / "work", "Not a directory"),
        ("/proc/work", "No such file"),
    ):
        line = refused(capsys, command, config, "--work", work)
        assert line.startswith(f"{work}: cannot make this folder: {reason}")


def test_a_bundle_that_could_not_be_written_in_the_end(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    for out in ("/proc/out/bundle", f"{config}/bundle"):
        line = refused(capsys, "run", config, "--work", work, "--bundle", out)
        assert line.startswith(f"{out}: cannot be written: ")
    assert refused(capsys, "run", config, "--work", work, "--bundle", config) == (
        f"{config}: expected a folder, found a file"
    )
    assert not work.exists()


def test_a_bundle_to_start_from_that_is_none(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "train", config, "--work", tmp_path / "work", "--init-from", tmp_path / "none")
    assert line == f"{tmp_path / 'none'}/manifest.json: expected a file, found none"
    assert not (tmp_path / "work").exists()


def test_a_bundle_to_measure_that_is_none(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("text\n")
    heldout = ("--heldout", f"en={text}")
    assert str(tmp_path / "none") in refused(capsys, "evaluate", tmp_path / "none", *heldout)
    text.write_text("\n")
    assert refused(capsys, "evaluate", tmp_path / "none", *heldout) == f"{text}: no text in this file"


def test_a_name_that_no_file_can_have(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "train", config, "--work", "a" * 300)
    assert line.startswith("a" * 300)
    assert line.endswith(": File name too long")


def test_a_name_that_would_write_over_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "train", tmp_path / "a\x1b[2Jb\nc\u202ed.toml", "--work", tmp_path / "work")
    assert line.removeprefix(f"{tmp_path}/") == "a\ufffd[2Jb c\ufffdd.toml: No such file or directory"


def test_an_export_of_nothing(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "export", config, "--work", tmp_path / "work", tmp_path / "bundle")
    assert line == f"{Workspace(tmp_path / 'work').best_path}: no such checkpoint"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


def test_an_export_with_the_configuration_of_another_network(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_config(tmp_path, total_tokens=TOKENS_PER_STEP)
    assert main(["train", str(path), "--work", str(workspace.folder)]) == 0
    capsys.readouterr()
    different: list[dict[str, Any]] = [{"hidden_dim": 16}, {"cell": "gru"}, {"num_layers": 1}]
    for changed in [*different, {"adaptive_cutoffs": []}]:
        path = write_config(tmp_path, **changed)
        line = refused(capsys, "export", path, "--work", workspace.folder, tmp_path / "bundle")
        assert line == f"{workspace.best_path}: holds the weights of another [model] than the configuration's"
    assert not (tmp_path / "bundle").exists()

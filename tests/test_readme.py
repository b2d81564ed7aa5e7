"""The README's commands, run as they stand, give what stands below them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_with(text: str, language: str = "sh") -> str:
    """Return the README's one block that contains `text`."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (block,) = (block for block in blocks if text in block)
    return str(block)


def shown_below(block: str) -> str:
    """Return what the README shows right after a block."""
    shown = re.search(re.escape(block) + r"```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert shown
    return shown[1]


@contextmanager
def served(*flags: str | Path, models: str = "enko") -> Iterator[str]:
    """Serve the shipped bundle, as `make serve` does, or those of the flags, on a free port."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            line = server.stderr.readline()
            found = re.search(rf"serving {models} on (http://\S+)", line)
            assert found, line
            yield found[1]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


def run_shell(block: str, address: str = "") -> str:
    """Run a block of commands, against a server where it asks one, and return what it prints."""
    command = block.replace("http://127.0.0.1:8000", address)
    run = subprocess.run(["bash", "-ec", command], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout


@pytest.mark.parametrize("text", ["approved the loan", "/v1/cloze ", "/similarity "])
def test_curl_gives_the_reply_that_is_shown(address: str, text: str) -> None:
    """Each block of commands is followed by what it prints."""
    block = block_with(text)
    assert run_shell(block, address) == shown_below(block)


def test_a_sense_is_learned_and_outlives_the_server(tmp_path: Path) -> None:
    fit, predict = block_with("$TASK/fit?kind"), block_with("$TASK/predict")
    flags = ("--tasks-path", tmp_path / "tasks.sqlite")
    with served(*flags) as address:
        assert run_shell(fit, address) == shown_below(fit)
        assert run_shell(predict, address) == shown_below(predict)
    with served(*flags) as address:
        assert run_shell(predict, address) == shown_below(predict)


def test_published_checkpoints_are_imported_and_served(tmp_path: Path) -> None:
    block = block_with("polyseme-train import")
    command = block.replace(".venv/bin/polyseme-train", f"{sys.executable} -m training")
    printed = run_shell(command.replace("runs/", f"{tmp_path}/"))
    assert printed.replace(f"{tmp_path}/", "runs/") == shown_below(block)
    asked = block_with('"model": "elmo"')
    flags = ("--bundle", tmp_path / "elmo", "--bundle", tmp_path / "many")
    with served(*flags, models="elmo, many") as address:
        assert run_shell(asked, address) == shown_below(asked)


@pytest.mark.parametrize("text", ["feature_extraction", "pyarrow"])
def test_python_gives_what_is_shown(address: str, text: str) -> None:
    block = block_with(text, "python")
    program = block.replace("http://127.0.0.1:8000", address)
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == shown_below(block)


def test_make_has_the_targets_that_are_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\S+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.slow
def test_training_commands_end_with_a_bundle_that_is_served(tmp_path: Path) -> None:
    block = block_with("polyseme-train run").replace("runs/tiny", str(tmp_path / "tiny"))
    lines = [line for line in block.splitlines() if "polyseme" in line]
    train, serve = (
        line.replace(".venv/bin/polyseme-train", f"{sys.executable} -m training").replace(
            ".venv/bin/polyseme", f"{sys.executable} -m service"
        )
        for line in lines
    )
    subprocess.run(["bash", "-ec", f"{train} --work {tmp_path / 'tiny'}"], cwd=ROOT, check=True)
    command = ["bash", "-ec", f"exec {serve} --port 0"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        assert "serving tiny on http://" in server.stderr.readline()
        server.terminate()
    assert server.returncode == 0

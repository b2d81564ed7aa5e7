"""Completion, as bash asks for it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from service.command_line import main
from service.commands.completion import script
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile
from service.tasks.learned_tasks import new_task
from tests.model.made_up_tasks import linear_task

SCRIPTS = sysconfig.get_path("scripts")


def completions(line: str, folder: Path) -> list[str]:
    """Return what a tab at the end of the line offers, in a bash that has read the script."""
    words = line.split(" ")
    program = f"""
        {script("bash")}
        COMP_WORDS=({" ".join(map(json.dumps, words))}) COMP_CWORD={len(words) - 1}
        COMP_LINE={json.dumps(line)} COMP_POINT={len(line.encode())} COMP_TYPE=9
        _python_argcomplete {words[0]}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": os.pathsep.join([SCRIPTS, os.environ["PATH"]])}
    bash = ["bash", "--norc", "-c", program]
    done = subprocess.run(bash, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return sorted(done.stdout.split())


def test_commands_flags_files_and_names(tmp_path: Path) -> None:
    (tmp_path / "enko.toml").touch()
    store = TaskStore(SQLiteFile(tmp_path / "t.sqlite"))
    store.put(new_task(linear_task()))
    store.close()
    assert completions("polyseme sc", tmp_path) == ["score"]
    assert completions("polyseme tasks e", tmp_path) == ["export"]
    assert completions("polyseme serve --preci", tmp_path) == ["--precision"]
    assert completions("polyseme score --color a", tmp_path) == ["always", "auto"]
    assert completions("polyseme tasks show --tasks-path t.sqlite m", tmp_path) == ["mood"]
    assert completions("polyseme-train run en", tmp_path) == ["enko.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_both_programs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{script(shell)}\n"
    assert {"bash": "complete -o ", "zsh": "compdef ", "fish": "complete --command "}[shell] in printed
    assert "polyseme-train" in printed


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert main(["completion", "bash"]) == 2
    expected = "polyseme: completion needs the extra completion: pip install 'polyseme[completion]'\n"
    assert capsys.readouterr().err == expected

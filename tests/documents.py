"""README and docs/: their blocks are found here, run as they stand, and compared with what is shown below.

A page shows what the reader would type. What differs in a test is put in its place: the server's address, the
programs of this environment instead of those in .venv/, and a folder of the test's own for runs/.

What is shown depends on the shipped model. For a new one, SHOW_ANEW=1 in the environment of the tests has
them write into the pages what the blocks print now.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.service.processes import server_process

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "http://127.0.0.1:8000"
"""Where the server is on every page, because that is where `make serve` puts it."""

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n(?:\n```(?:text|json)\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `shown` stands right below it and is what it prints; None: nothing stands there."""

    language: str
    code: str
    shown: str | None

    def run(self, address: str = ADDRESS, runs: Path | None = None) -> str:
        """Run it and return what it prints, with `runs/` for the folder `runs`.

        Raises CalledProcessError for any exit status but 0, its standard error among the notes.
        """
        assert self.language in ("sh", "python"), self
        code = self.code.replace(ADDRESS, address).replace(".venv/bin/", "")
        if runs is not None:
            code = code.replace("runs/", f"{runs}/")
        command = ["bash", "-ec"] if self.language == "sh" else [sys.executable, "-c"]
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
        done = subprocess.run(
            [*command, code], cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True
        )
        try:
            done.check_returncode()
        except subprocess.CalledProcessError as error:
            error.add_note(done.stderr)
            raise
        return done.stdout if runs is None else done.stdout.replace(f"{runs}/", "runs/")


class Page:
    """A Markdown file of the repository, named from its root."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / name).read_text(encoding="utf-8")
        self.blocks = tuple(Block(*found.groups()) for found in _FENCE.finditer(self.text))

    def block_with(self, text: str, language: str = "sh") -> Block:
        """Return the one block of a language that contains `text`."""
        (block,) = (block for block in self.blocks if block.language == language and text in block.code)
        return block

    def expect(self, block: Block, printed: str) -> None:
        """Fail unless a block has printed what the page shows below it; with SHOW_ANEW write it there."""
        if os.environ.get("SHOW_ANEW"):
            path, below = ROOT / self.name, f"{block.code}```\n\n```text\n"
            text = path.read_text(encoding="utf-8")
            assert f"{below}{block.shown}```" in text
            path.write_text(
                text.replace(f"{below}{block.shown}```", f"{below}{printed}```"), encoding="utf-8"
            )
            return
        assert printed == block.shown

    def blocks_of(self, *languages: str) -> tuple[Block, ...]:
        """Return the blocks of these languages, in their order."""
        return tuple(block for block in self.blocks if block.language in languages)


@contextmanager
def served(*flags: str | Path, models: str = "enko") -> Iterator[str]:
    """Serve the shipped bundle, or those of the flags, on a free port; yield its address."""
    with server_process(*flags) as (server, client):
        assert f"serving {models} on" in server.log
        yield str(client.base_url).rstrip("/")

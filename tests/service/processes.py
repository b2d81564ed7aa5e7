"""`polyseme serve` as a process of its own, and everything that it writes to its log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]

SERVING = r"serving (?P<models>.+) on (?P<address>http://\S+) with \d+ compute threads"


class ServerProcess:
    """A process whose log is read as it is written, so that it never waits for its reader."""

    def __init__(
        self,
        *flags: str | Path,
        variables: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "service", "serve", "--port", "0"),
    ) -> None:
        command = [*command, *map(str, flags)]
        environment = {**os.environ, **(variables or {})}
        self.popen = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        with self.popen.stderr as stderr:
            for line in stderr:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, timeout_s: float = PATIENCE_S) -> re.Match[str]:
        """Return the first match of a line, past or to come; fail when none comes."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            seen = 0
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                left_s = deadline - time.monotonic()
                is_hopeless = self._is_over or left_s <= 0
                assert not is_hopeless, f"no line has {pattern!r}:\n{self.log}"
                self._changed.wait(left_s)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Return the exit status, once the whole log has been read."""
        status = self.popen.wait(timeout_s)
        self._reader.join(timeout_s)
        return status

    def end(self) -> None:
        """Leave nothing behind, whatever a test has done."""
        if self.popen.poll() is None:
            self.popen.terminate()
            try:
                self.popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
                raise
        self._reader.join(PATIENCE_S)


@contextmanager
def server_process(
    *flags: str | Path, variables: Mapping[str, str] | None = None
) -> Iterator[tuple[ServerProcess, httpx.Client]]:
    """Start a server, wait until it says that it serves, and end it when the test has not."""
    server = ServerProcess(*flags, variables=variables)
    try:
        address = server.wait_for(SERVING)["address"]
        with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
            yield server, client
    finally:
        server.end()

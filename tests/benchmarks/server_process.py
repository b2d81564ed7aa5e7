"""`polyseme serve` as a process of its own, for the benchmarks."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class ServerProcess:
    """A server that is ready."""

    pid: int
    host: str
    port: int
    started_in_s: float

    @property
    def resident_mb(self) -> float:
        """Memory that the process holds now."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


@contextmanager
def server_process(*flags: str) -> Iterator[ServerProcess]:
    """Start a server on a free port, wait until it says that it serves, and stop it afterwards."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", *flags]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving" in line)
        address = urlsplit(next(word for word in line.split() if word.startswith("http")))
        assert address.hostname is not None
        assert address.port is not None
        # It writes a line for each request, and stands still when nobody reads them and the pipe is full.
        reader = threading.Thread(target=deque, args=(process.stderr, 0))
        reader.start()
        try:
            yield ServerProcess(process.pid, address.hostname, address.port, time.perf_counter() - started)
        finally:
            process.terminate()
            reader.join()  # it ends with the process; the pipe is closed after it

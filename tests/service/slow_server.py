"""The real server with the fake model, as a process; its engine stands still until a file appears.

`python -m tests.service.slow_server FILE DRAIN_S`
"""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

from model.files import Precision
from service import app, server
from service.engine.backend import Backend
from service.settings import Settings
from tests.service.fake_backend import FakeRuntime, fake_backend


def main(gate: Path, drain_s: int) -> None:
    """Serve until a signal."""
    runtime = FakeRuntime()
    runtime.may_run.clear()

    def watch() -> None:
        while not gate.exists():
            time.sleep(0.01)
        runtime.may_run.set()

    def open_backend(folder: Path, num_threads: int, precision: Precision) -> Backend:
        return fake_backend(folder.name, runtime)

    threading.Thread(target=watch, daemon=True).start()
    settings = Settings(
        bundle=(Path("fake"),), threads=1, port=0, drain_s=drain_s, stall_ms=600_000, hang_ms=600_000
    )
    with patch.object(server, "create_app", partial(app.create_app, open_backend=open_backend)):
        server.serve(settings)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

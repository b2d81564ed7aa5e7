"""What onnxruntime may do when it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_it_reports_to_no_one(tmp_path: Path) -> None:
    """Its telemetry begins with an identifier in the user's cache; where there is none, nothing is sent.

    (`import onnxruntime` alone leaves Microsoft/DeveloperTools/.onnxruntime/deviceid there.)
    """
    program = "import os, model.sessions; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    # Not a CI's variables, which silence it too.
    inherited = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    command = [sys.executable, "-c", program]
    environment = {**inherited, "HOME": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "1\n"
    assert sorted(tmp_path.rglob("*")) == []

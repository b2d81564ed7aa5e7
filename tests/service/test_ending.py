"""Signals before there is a server, while it loads, while it serves, and after it: never a stack trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from service import ending
from tests.service.conftest import wait_until
from tests.service.processes import ROOT, SERVING, ServerProcess
from tests.service.tiny_bundle import write_tiny_bundle

# The command, which sends itself a signal when it comes to a certain point. What is ignored in this process,
# as SIGHUP is under nohup, is not ignored in that one.
SELF_SIGNALLING = """
import atexit, importlib.abc, os, signal, sys

number, when, *command = sys.argv[1:]
number = signal.Signals(int(number))
signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

def come(point):
    if point == when:
        os.kill(os.getpid(), number)

class Imports(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        come(name)

def on_event(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        come(os.path.basename(arguments[0]))
    if event == "socket.bind":  # once it serves, it is to stop
        os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Imports())
sys.addaudithook(on_event)
atexit.register(come, "exit")
sys.argv = ["polyseme", *command]
from service.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


def run(number: signal.Signals, when: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", SELF_SIGNALLING, str(int(number)), when, *map(str, command)]
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "service.command_line"),
        (signal.SIGTERM, "onnxruntime"),
        (signal.SIGHUP, "weights.safetensors"),
    ],
)
def test_a_signal_while_it_loads_ends_it_at_once(bundle: Path, number: signal.Signals, when: str) -> None:
    ended = run(number, when, "serve", "--bundle", bundle, "--port", "0")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_signal_after_it_has_stopped_changes_nothing(bundle: Path) -> None:
    ended = run(signal.SIGTERM, "exit", "serve", "--bundle", bundle, "--port", "0")
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert ended.stderr.rstrip().endswith("INFO polyseme: stopped")


def test_ctrl_c_while_another_command_loads_is_no_stack_trace() -> None:
    ended = run(signal.SIGINT, "service.command_line", "fit")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_what_is_loaded_before_signals_are_heard_is_little() -> None:
    code = "import sys, service.__main__; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    ours = {name for name in loaded.stdout.split() if name.partition(".")[0] in ("service", "model")}
    assert ours == {"service", "service.__main__", "service.ending"}
    assert not {"argparse", "asyncio", "numpy"} & set(loaded.stdout.split())


def test_a_terminal_that_is_closed_ends_it_in_order(bundle: Path) -> None:
    heard = (
        "import os, signal, sys; "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    )
    command = (sys.executable, "-c", heard, sys.executable, "-m", "service", "serve", "--port", "0")
    server = ServerProcess("--bundle", bundle, command=command)
    try:
        server.wait_for(SERVING)
        server.popen.send_signal(signal.SIGHUP)
        assert server.wait() == 0
        assert server.lines[-1].endswith("INFO polyseme: stopped")
    finally:
        server.end()


def test_with_nohup_it_goes_on(bundle: Path) -> None:
    command = ("nohup", sys.executable, "-m", "service", "serve", "--port", "0")
    server = ServerProcess("--bundle", bundle, command=command)
    try:
        address = server.wait_for(SERVING)["address"]
        server.popen.send_signal(signal.SIGHUP)
        assert httpx.get(f"{address}/readyz", timeout=30).status_code == 200
        server.popen.terminate()
        assert server.wait() == 0
        server.wait_for("stopping; 0 requests in flight$")
    finally:
        server.end()


def test_ctrl_c_in_a_terminal_reaches_workers_that_load_and_says_nothing(bundle: Path) -> None:
    """It is sent to every process at once; the parent ends them."""
    flags = ["--port", "0", "--bundle", str(bundle), "--workers", "2"]
    command = [sys.executable, "-m", "service", "serve", *flags]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: len(children.read_text().split()) >= 2, timeout_s=60)
        os.killpg(process.pid, signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert log.rstrip().endswith("INFO polyseme: stopped")


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in ending.SIGNALS]
    calls: list[str] = []
    with ending.taken_over(lambda: calls.append("outer")), ending.taken_over(lambda: calls.append("inner")):
        os.kill(os.getpid(), signal.SIGTERM)
    assert calls == ["inner"]
    assert [signal.getsignal(number) for number in ending.SIGNALS] == before

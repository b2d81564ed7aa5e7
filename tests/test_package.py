"""What `pip install` gives: the wheel's contents, and a service that answers from a new environment."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.patience import PATIENCE_S

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


def run(*command: str | Path) -> str:
    """Run a command in the repository and return what it printed; fail when it fails."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("polyseme-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone, without extras, in a new environment; return its bin folder."""
    folder = tmp_path_factory.mktemp("base") / "venv"
    venv.create(folder, with_pip=True)
    pip = (folder / "bin" / "python", "-m", "pip", "install", "--quiet")
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel)
    return folder / "bin"


@pytest.fixture
def address(environment: Path, tmp_path: Path) -> Iterator[str]:
    """Run `polyseme serve` from that environment, far from the repository; yield where it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = (environment / "polyseme", "serve", "--host", "127.0.0.1", "--port", port)
    with subprocess.Popen(command, cwd=tmp_path) as server:
        try:
            wait_until_ready(url, server, timeout_s=60.0)
            yield url
        finally:
            server.terminate()
            server.wait(PATIENCE_S)


def wait_until_ready(url: str, server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Return once /readyz answers 200; fail when the server ends first or the time is over."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert server.poll() is None, "the server ended before it was ready"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=PATIENCE_S).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"not ready after {timeout_s} s")


def test_the_wheel_carries_code_and_data(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    packages = ("model", "training", "service")
    kept = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *packages)
    assert names == {name for name in kept.split("\0") if name}
    assert {"model/py.typed", "training/py.typed", "service/py.typed", "training/configs/tiny.toml"} <= names
    bundle = {name.rpartition("/")[2] for name in names if name.startswith("model/pretrained/enko/")}
    assert {"manifest.json", "weights.safetensors", "tokenizer.model", "MODEL_CARD.md"} <= bundle


def test_the_base_install_brings_no_training_library(environment: Path) -> None:
    listing = run(environment / "python", "-m", "pip", "list", "--format=json")
    names = {package["name"].lower() for package in json.loads(listing)}
    assert {"polyseme", "fastapi", "onnxruntime", "sentencepiece", "scipy"} <= names
    assert names & {"torch", "onnx", "scikit-learn", "safetensors", "tqdm", "pytest"} == set()


def test_the_installed_service_answers_with_the_model_it_carries(address: str) -> None:
    response = httpx.post(f"{address}/v1/embed", json={"inputs": ["강에서 배를 탔다"]}, timeout=PATIENCE_S)
    assert response.status_code == 200, response.text
    reply = response.json()
    (embedding,) = reply["embeddings"]
    assert reply["model"] == "enko"
    assert [token["text"] for token in embedding["tokens"]]
    assert len(embedding["vectors"]) == embedding["num_tokens"] == len(embedding["tokens"])
    assert {len(row) for row in embedding["vectors"]} == {reply["dimension"]}

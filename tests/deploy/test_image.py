"""The Dockerfile, built without an engine: what the image holds, its size, and what a container answers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from model.files import TOKENIZER_FILE
from model.tokenizer import SentencePieceTokenizer
from tests.deploy.image import SCRATCH, Image
from tests.golden.enko import BUNDLE, GOLDEN, SENTENCES
from tests.patience import PATIENCE_S
from tests.service.processes import SERVING, ServerProcess

ROOT = Path(__file__).resolve().parents[2]
MAX_COMPRESSED_BYTES, MAX_UNPACKED_BYTES = 350e6, 700e6

pytestmark = pytest.mark.image


@pytest.fixture(scope="session")
def image() -> Iterator[Image]:
    # Not pytest's own folder, which keeps what the last three runs left.
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [ROOT / "deploy" / "build_image.sh", folder],
            env={**os.environ, "PYTHON": sys.executable},
            check=True,
        )
        yield Image(Path(folder))


@pytest.fixture(scope="session")
def port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="session")
def container(image: Image, port: str) -> Iterator[ServerProcess]:
    """Run the image's own command, on a port that is free, until it serves."""
    server = ServerProcess(command=image.command(*image.config["Cmd"], variables={"POLYSEME_PORT": port}))
    try:
        server.wait_for(SERVING)
        yield server
    finally:
        server.end()


@pytest.fixture(scope="session")
def client(container: ServerProcess, port: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
        yield client


def test_it_is_small(image: Image) -> None:
    assert sum(image.layer_bytes()) < MAX_COMPRESSED_BYTES
    assert sum(image.part_bytes().values()) < MAX_UNPACKED_BYTES


def test_it_holds_the_service_and_no_more(image: Image) -> None:
    packages = set(image.packages())
    assert {"polyseme", "onnxruntime", "scipy", "psycopg-binary"} <= packages
    assert packages & {"torch", "onnx", "ray", "pytest", "pip", "setuptools", "hatchling"} == set()
    assert list(image.root.glob("venv/**/tests")) == []
    assert not (image.root / "src").exists()


def test_nothing_of_the_machine_that_built_it_is_in_it(image: Image) -> None:
    names = {variable.partition("=")[0] for variable in image.config["Env"]}
    polyseme = {"POLYSEME_HOST", "POLYSEME_PORT", "POLYSEME_TASKS_PATH"}
    assert names == {"PATH", "PYTHONUNBUFFERED"} | polyseme
    left = [image.root / "etc" / name for name in ("pip.conf", "apt/sources.list", "resolv.conf", "hostname")]
    assert [path for path in left if path.exists() and path.stat().st_size] == []


def test_a_container_is_no_root_and_writes_nowhere_else(image: Image) -> None:
    assert image.run("id", "--user").stdout == "10001\n"
    for folder in SCRATCH:
        assert image.run("touch", f"{folder}/x").returncode == 0, folder
    for folder in ("", "/venv", "/etc"):
        assert image.run("touch", f"{folder}/x").returncode == 1, folder


def test_all_that_a_start_imports_is_compiled(image: Image) -> None:
    program = """
import os, sys, service.app
cached = [path for module in list(sys.modules.values()) if (path := getattr(module, "__cached__", None))]
print(len(cached) > 300, [path for path in cached if not os.path.exists(path)])
"""
    assert image.run("python", "-c", program).stdout == "True []\n"


def test_postgresql_s_client_library_is_there(image: Image) -> None:
    assert int(image.run("python", "-c", "import psycopg; print(psycopg.pq.version())").stdout) >= 16_00_00


@pytest.mark.parametrize("name", SENTENCES)
def test_vectors_are_the_golden_ones(client: httpx.Client, name: str) -> None:
    reply = client.post("/v1/embed", json={"inputs": [SENTENCES[name]], "layer": "all"})
    assert reply.status_code == 200, reply.text
    visible = SentencePieceTokenizer(BUNDLE / TOKENIZER_FILE).tokenize(SENTENCES[name]).visible
    with np.load(GOLDEN) as golden:
        expected = golden[name].astype(np.float32)[:, 1:-1][
            :, visible
        ]  # without the boundaries, as in a reply
    found = np.array(reply.json()["embeddings"][0]["vectors"], dtype=np.float32)
    # float16 keeps 11 bits of each value.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_task_is_learned_and_kept_in_the_volume(client: httpx.Client) -> None:
    """With scipy, whose tests the image leaves out, and SQLite."""
    examples = (ROOT / "examples" / "boat_or_pear.jsonl").read_bytes()
    lines = {"Content-Type": "application/x-ndjson"}
    begun = client.post("/v1/tasks/pear/fit?kind=sense", content=examples, headers=lines)
    assert begun.status_code == 202, begun.text
    while (fit := client.get("/v1/tasks/pear/fit").json())["state"] != "done":
        assert fit["state"] in ("queued", "running"), fit
        time.sleep(0.1)
    marked = {"text": "배를 깎아 먹었다", "start": 0, "end": 1}
    reply = client.post("/v1/tasks/pear/predict", json={"inputs": [marked]}).json()
    assert [each["label"] for each in reply["predictions"]] == ["pear"]


def test_the_health_check_knows_a_server_from_none(image: Image, container: ServerProcess, port: str) -> None:
    kind, *command = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        nobody = str(closed.getsockname()[1])
        assert image.run(*command, variables={"POLYSEME_PORT": nobody}).returncode == 1
    assert image.run(*command, variables={"POLYSEME_PORT": port}).returncode == 0


def test_it_stops_when_it_is_told(image: Image) -> None:
    server = ServerProcess(command=image.command(*image.config["Cmd"], variables={"POLYSEME_PORT": "0"}))
    try:
        server.wait_for(SERVING)
        server.popen.terminate()
        assert server.wait() == 0, server.log
    finally:
        server.end()


def test_every_package_has_a_wheel_for_64_bit_arm(image: Image, tmp_path: Path) -> None:
    """The same versions, for glibc 2.28: the base image has a newer one."""
    packages = {name: version for name, version in image.packages().items() if name != "polyseme"}
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(28, 16, -1)]
    target = ["--python-version=3.11", "--implementation=cp", "--only-binary=:all:", f"--target={tmp_path}"]
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--report=-"]
    pins = [f"{name}=={version}" for name, version in packages.items()]
    run = subprocess.run(
        [*pip, *platforms, "--platform=manylinux2014_aarch64", *target, *pins], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    wheels = [Path(entry["download_info"]["url"]).name for entry in json.loads(run.stdout)["install"]]
    assert len(wheels) == len(packages)
    assert [wheel for wheel in wheels if not wheel.endswith(("aarch64.whl", "-any.whl"))] == []
    assert sum(wheel.endswith("aarch64.whl") for wheel in wheels) > 5

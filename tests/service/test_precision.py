"""`--precision`: the graph that it asks for is the one that runs, and a bundle without it is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.service.processes import ServerProcess, server_process
from tests.service.tiny_bundle import write_tiny_bundle

BODY = {"inputs": ["The bank lent him money.", "강에서 배를 탔다"], "layer": "all", "pool": "sentence"}


def sentence_vectors(*flags: str | Path) -> npt.NDArray[np.float64]:
    """Return (B, L, 2H) of a server of its own."""
    with server_process("--threads", "1", *flags) as (_, client):
        reply = client.post("/v1/embed", json=BODY)
        assert reply.status_code == 200, reply.text
        return np.array([embedding["vectors"] for embedding in reply.json()["embeddings"]])[:, :, 0]


def test_int8_serves_its_own_graph(tmp_path: Path) -> None:
    """Layer 0 is the token vector, which stays float32; the recurrent layers are near, and not the same."""
    bundle = write_tiny_bundle(tmp_path / "tiny", with_int8=True).folder
    exact = sentence_vectors("--bundle", bundle)
    quantised = sentence_vectors("--bundle", bundle, "--precision", "int8")
    np.testing.assert_array_equal(quantised[:, 0], exact[:, 0])
    change = np.linalg.norm(quantised[:, 1:] - exact[:, 1:], axis=-1) / np.linalg.norm(exact[:, 1:], axis=-1)
    assert (change > 1e-4).all()
    assert (change < 0.1).all()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_int8_without_its_graph_is_one_line(tmp_path: Path, workers: str) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    flags = ("--threads", "1", "--workers", workers, "--precision", "int8")
    server = ServerProcess("--bundle", bundle, *flags)
    try:
        assert server.wait() == 2
    finally:
        server.end()
    missing = f"{bundle}: expected context_encoder.int8.onnx for int8, found none"
    assert server.lines[-1].endswith(missing)
    assert "Traceback" not in server.log

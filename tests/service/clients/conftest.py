"""For other people's clients: a server whose vectors are real, and no network but loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from tests.service.conftest import fake_settings, serving
from tests.service.tiny_bundle import write_tiny_bundle

TEXTS = ["She sat on the bank of the river.", "The bank lent him money.", "강에서 배를 탔다", "배"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server with a real model, "tiny", of 32 dimensions."""
    folder = write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder
    with serving(create_app(fake_settings(bundle=(folder,)))) as client:
        yield client


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that would leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", f"a connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def sentence_vectors(client: httpx.Client, *texts: str, normalize: bool = True) -> np.ndarray[Any, Any]:
    """Return what /v1/embed gives for the texts, float32, one row each."""
    body = {"inputs": texts, "pool": "sentence", "normalize": normalize}
    reply = client.post("/v1/embed", json=body).json()
    return np.array([embedding["vectors"][0] for embedding in reply["embeddings"]], dtype=np.float32)


def address(client: httpx.Client, path: str) -> str:
    return f"{str(client.base_url).rstrip('/')}{path}"

"""A bundle is served only when its parts fit each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from model.bundle import BundleError, write_bundle
from model.characters import Alphabet
from service.engine.backend import open_backend
from tests.service.tiny_bundle import write_tiny_bundle


def test_a_bundle_opens_with_its_own_numbers(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    backend = open_backend(bundle.folder, 1, "float32")
    assert (backend.name, backend.dimension, backend.num_layers) == ("tiny", 32, 3)
    assert backend.sha256 == bundle.manifest.sha256


def test_an_alphabet_that_is_larger_than_the_network_is_refused(tmp_path: Path) -> None:
    """Every hash is right, and yet some characters would have no row in the network's table."""
    bundle = write_tiny_bundle(tmp_path / "tiny")
    larger = tmp_path / "characters.json"
    Alphabet("jamo", ["é", "漢"]).save(larger)
    files: dict[str, bytes | Path] = {name: bundle.folder / name for name in bundle.manifest.files}
    write_bundle(tmp_path / "other", replace(bundle.manifest, files={}), {**files, "characters.json": larger})
    known = bundle.manifest.architecture.num_characters
    expected = (
        f"characters.json: characters: expected {known}, as many as the network has, found {known + 2}$"
    )
    with pytest.raises(BundleError, match=expected):
        open_backend(tmp_path / "other", 1, "float32")

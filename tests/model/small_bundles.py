"""Small networks with random weights, written as bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from model.architecture import Architecture, Cell
from model.bundle import Bundle, Manifest, write_bundle
from model.graph import build_graphs
from model.weights import read_header

NOT_PLAIN_NAMES = [
    "../weights.safetensors",
    "/etc/passwd",
    "a/b",
    ".hidden",
    "..",
    "",
    "a\\b",
    "a\0b",
    "manifest.json",
]


def architecture(
    cell: Cell = "lstm",
    num_layers: int = 2,
    hidden_dim: int = 20,
    adaptive_cutoffs: tuple[int, ...] = (8, 20),
    num_highways: int = 1,
) -> Architecture:
    return Architecture(
        cell=cell,
        num_layers=num_layers,
        hidden_dim=hidden_dim,
        character_dim=5,
        num_characters=30,
        filters=((1, 3), (2, 4), (4, 6)),
        num_highways=num_highways,
        vocabulary_size=50,
        adaptive_cutoffs=adaptive_cutoffs,
        adaptive_div_value=2.0,
    )


def manifest(architecture: Architecture, weights_dtype: str = "float32", name: str = "small") -> Manifest:
    return Manifest(
        name=name,
        languages=["en", "ko"],
        architecture=architecture,
        tokenizer="sentencepiece",
        weights_dtype=weights_dtype,
        training={"tokens": 12345, "corpora": ["a tale, 이야기"], "perplexity": {"en": 81.25}},
        rounding={"layers": 3e-4},
        licence="Apache-2.0",
    )


def bundle_files(
    architecture: Architecture, tensors: Mapping[str, npt.NDArray[np.floating]]
) -> dict[str, bytes | Path]:
    """Every file of a bundle, but for the manifest. What a runtime does not read holds a few bytes only."""
    weights = save(dict(tensors))
    return {
        "tokenizer.model": b"pieces",
        "characters.json": b"{}",
        "weights.safetensors": weights,
        **build_graphs(architecture, read_header(weights)),
        "MODEL_CARD.md": b"# small\n",
    }


def write_small_bundle(
    folder: Path, architecture: Architecture, tensors: Mapping[str, npt.NDArray[np.floating]]
) -> Bundle:
    dtype = next(iter(tensors.values())).dtype.name
    return write_bundle(folder, manifest(architecture, dtype), bundle_files(architecture, tensors))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}

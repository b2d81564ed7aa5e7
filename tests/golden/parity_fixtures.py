"""The published checkpoints in small, with the vectors that the original programs gave (parity/README.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

PARITY = Path(__file__).resolve().parent / "parity"

Floats = npt.NDArray[np.float32]

TOLERANCE = 2e-5
"""Absolute, of any value: what parity/README.md asks for."""


@dataclass(frozen=True)
class Fixture:
    name: str
    arguments: tuple[Path, ...]  # of `polyseme-train import`
    sentences: list[list[str]]
    expected: dict[int, Floats]  # by sentence: (L, T, 2H) in float32

    @property
    def format(self) -> str:
        return "manylangs" if len(self.arguments) == 1 else "allennlp"


def random_fixture(name: str) -> Fixture:
    folder = PARITY / "random" / name
    return Fixture(name, (folder / "options.json", folder / "weights.hdf5"), *_rows(folder))


def manylangs_fixture() -> Fixture:
    folder = PARITY / "elmoformanylangs" / "a_word_char_hw2_relu"
    return Fixture("manylangs", (folder,), *_rows(folder))


def _rows(folder: Path) -> tuple[list[list[str]], dict[int, Floats]]:
    sentences = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    with np.load(folder / "expected.npz") as expected:
        return sentences, {i: expected[f"s{i:03}"] for i in range(len(sentences))}


def allennlp_fixture() -> Fixture:
    """All layers of every sentence, each from a zero state."""
    folder = PARITY / "allennlp"
    lists = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    sentences = [sentence.split() for sentences in lists for sentence in sentences]
    with np.load(folder / "all_layers_stateless.npz") as expected:
        layers = {10 * k + i: expected[f"k{k}_i{i}"] for k in range(3) for i in range(10)}
    return Fixture("allennlp", (folder / "options.json", folder / "lm_weights.hdf5"), sentences, layers)


def published_top_layer(folder: Path) -> dict[int, Floats]:
    """Return the top layer (T, 2H) of the first batch, row k of which is sentence 10 k.

    From the second batch on the published values depend on the sentences before: the originals carry their
    state from call to call.
    """
    top = {}
    for k in range(3):
        with h5py.File(folder / f"lm_embeddings_{k}.hdf5") as file:
            top[10 * k] = np.concatenate(list(file["0"][()]), axis=-1)
    return top


def bilm_tf_fixture() -> Fixture:
    """Skip connections off; only the top layer was published, so there is one layer here."""
    folder = PARITY / "bilm_tf"
    lists = json.loads((folder / "lm_embeddings_sentences.json").read_text(encoding="utf-8"))
    sentences = [sentence.split() for sentences in lists for sentence in sentences]
    expected = {i: top[None] for i, top in published_top_layer(folder).items()}
    return Fixture("bilm_tf", (folder / "options.json", folder / "lm_weights.hdf5"), sentences, expected)


RANDOM = ("a_proj_skip_hw2_relu", "d_square_skip_hw1_relu", "f_proj_skip_hw2_relu_max30")


def all_fixtures() -> list[Fixture]:
    return [allennlp_fixture(), bilm_tf_fixture(), *map(random_fixture, RANDOM), manylangs_fixture()]


def published_token_vectors() -> Floats:
    """Return the token vector of each line of allennlp/vocab_test.txt, float32 (458, 16)."""
    with h5py.File(PARITY / "allennlp" / "elmo_token_embeddings.hdf5") as file:
        vectors: Floats = file["embedding"][()]
        return vectors

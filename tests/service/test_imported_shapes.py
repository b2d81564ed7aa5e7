"""Checkpoints of every shape that their formats allow, served, against both networks in plain numpy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from service.app import create_app
from service.engine.backend import open_backend
from service.replies.accept import NPZ
from tests.model.elmo_numpy import Array, BilmTf, Elmo
from tests.model.elmo_numpy import ManyLangs as ManyLangsNetwork
from tests.model.imports.random_checkpoints import ManyLangs, random_allennlp, random_manylangs
from tests.service.conftest import fake_settings, serving
from tests.service.routes.reading import from_npz
from training.__main__ import main

ALLENNLP: dict[str, dict[str, Any]] = {
    "one-layer": {"num_layers": 1},
    "one-layer-as-bilm-tf-names-it": {"num_layers": 1, "one_layer_names": True},
    "three-layers-without-skips": {"num_layers": 3, "skip": False},
    "no-highway": {"num_highways": None},
    "three-highways": {"num_highways": 3},
    "no-projection": {"cell": 8},
    "no-projection-and-clips-that-act": {"cell": 8, "clips": (0.2, 0.05), "scale": 0.7},
    "no-character-projection": {"projection": 12},
    "neither-projection": {"cell": 12, "projection": 12},
    "tanh": {"activation": "tanh"},
    "no-clips": {"clips": (None, None), "scale": 0.7},
    "one-clip": {"clips": (0.2, None), "scale": 0.7},
    "clips-that-act": {"clips": (0.3, 0.1), "scale": 0.7, "num_layers": 3},
    "filters-in-any-order": {"filters": ((3, 5), (1, 2), (4, 3), (1, 1))},
    "rows-as-wide-as-the-filter": {"filters": ((9, 4), (2, 3))},
    "a-narrow-cell": {"cell": 5, "projection": 8},
}
MANYLANGS: dict[str, dict[str, Any]] = {
    "words": {},
    "words-and-two-highways": {"num_highways": 2},
    "no-words": {"word_dim": 0},
    "no-highway-but-words": {"num_highways": 0},
    "words-and-tanh": {"activation": "tanh", "word_dim": 0},
    "words-and-one-layer": {"num_layers": 1},
    "words-and-clips-that-act": {"clips": (0.3, 0.1), "scale": 0.7},
    "words-without-clips": {"clips": (None, None), "scale": 0.7},
    "a-cell-that-is-projected-to-its-size": {"cell": 8},
}
SENTENCES = [
    ["bank"],
    ["The", "bank", ",", "은행", "은행은", "banana", "Bank"],
    ["abcdefghijk", "한국어한국어", "é" * 9, "e\u0301", "😀😀😀", " ", "\u3000", "<S>", "</S>", "</s>"],
    ["<bos>", "<eos>", "<pad>", "<oov>", "<bow>", "b"] * 5,
]


class PlainManyLangs(ManyLangsNetwork):
    """Takes a user's word "<bos>" for a word that it does not know, where the original takes the boundary."""

    def word_vector(self, word: str) -> Array:
        cut = word[: self.embedder["max_characters_per_token"] - 2]
        body = [self.characters.get(character, self.characters["<oov>"]) for character in cut]
        return self._vector(body, "<oov>" if word in ("<bos>", "<eos>", "<pad>") else cut)


def plain_manylangs(source: ManyLangs) -> Elmo:
    characters, words = (
        {token: i for i, token in enumerate(tokens)} for tokens in (source.characters, source.words)
    )
    return PlainManyLangs(source.config, source.embedder, source.encoder, characters, words)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Elmo]]:
    """A folder with the bundle of each shape, and the plain networks."""
    parent = tmp_path_factory.mktemp("bundles")
    plain: dict[str, Elmo] = {}
    for seed, (name, shape) in enumerate(ALLENNLP.items()):
        source = random_allennlp(**shape, seed=seed)
        paths = source.write(parent / f"{name}.source")
        assert main(["import", "allennlp", *map(str, paths), str(parent / name)]) == 0
        usual = {
            key.replace("/RNN/LSTMCell/", "/RNN/MultiRNNCell/Cell0/LSTMCell/"): array
            for key, array in source.arrays.items()
        }
        plain[name] = BilmTf(source.options, usual)
    for seed, (name, shape) in enumerate(MANYLANGS.items()):
        folder = random_manylangs(**shape, seed=seed)
        path = folder.write(parent / f"{name}.source")
        assert main(["import", "manylangs", str(path), str(parent / name)]) == 0
        plain[name] = plain_manylangs(folder)
    return parent, plain


@pytest.fixture(scope="module")
def client(networks: tuple[Path, dict[str, Elmo]]) -> Iterator[httpx.Client]:
    parent, plain = networks
    settings = fake_settings(bundle=tuple(parent / name for name in plain), slice_tokens=9)
    with serving(create_app(settings, open_backend)) as client:
        yield client


@pytest.mark.parametrize("name", [*ALLENNLP, *MANYLANGS])
def test_every_layer_is_the_plain_networks(
    client: httpx.Client, networks: tuple[Path, dict[str, Elmo]], name: str
) -> None:
    """Whole, in slices, and in a batch with the others."""
    plain = networks[1][name]
    body = {"model": name, "inputs": SENTENCES, "layer": "all"}
    reply = client.post("/v1/embed", json=body, headers={"Accept": NPZ})
    assert reply.status_code == 200, reply.text
    for told, words in zip(from_npz(reply.content), SENTENCES, strict=True):
        np.testing.assert_allclose(told["rows"], plain.layers(words), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in ALLENNLP if "clip" in name and name != "no-clips"])
def test_these_clips_act(networks: tuple[Path, dict[str, Elmo]], name: str) -> None:
    """Else the test above would say nothing of them."""
    clipped = networks[1][name]
    assert isinstance(clipped, BilmTf)
    lstm = {**clipped.lstm, "cell_clip": None, "proj_clip": None}
    free = BilmTf({"lstm": lstm, "char_cnn": clipped.cnn}, clipped.weights)
    assert np.abs(clipped.layers(SENTENCES[1]) - free.layers(SENTENCES[1])).max() > 0.05

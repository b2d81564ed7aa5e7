"""Checkpoints of both formats with random weights, of any shape, written from the formats' descriptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch

Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class AllenNLP:
    """options.json and the datasets of weights.hdf5."""

    options: dict[str, Any]
    arrays: Arrays

    def write(self, folder: Path) -> tuple[Path, Path]:
        folder.mkdir(parents=True, exist_ok=True)
        options, weights = folder / "options.json", folder / "weights.hdf5"
        options.write_text(json.dumps(self.options), encoding="utf-8")
        with h5py.File(weights, "w") as file:
            for name, array in self.arrays.items():
                file[name] = array
        return options, weights


def random_allennlp(
    *,
    cell: int = 12,
    projection: int = 8,
    num_layers: int = 2,
    clips: tuple[float | None, float | None] = (3, 3),
    skip: bool = True,
    filters: tuple[tuple[int, int], ...] = ((1, 3), (2, 4), (3, 5)),
    num_highways: int | None = 1,
    activation: str = "relu",
    max_characters: int = 9,
    scale: float = 0.4,
    one_layer_names: bool = False,
    seed: int = 0,
) -> AllenNLP:
    """num_highways: None leaves the option out; one_layer_names: as bilm-tf calls the only layer."""
    random = np.random.default_rng(seed)

    def array(*shape: int) -> npt.NDArray[np.float32]:
        return random.uniform(-scale, scale, shape).astype(np.float32)

    num_filters = sum(count for _, count in filters)
    arrays = {"char_embed": array(261, 4)}
    for i, (width, count) in enumerate(filters):
        arrays[f"CNN/W_cnn_{i}"], arrays[f"CNN/b_cnn_{i}"] = array(1, width, 4, count), array(count)
    for k in range(num_highways or 0):
        for part in ("carry", "transform"):
            arrays[f"CNN_high_{k}/W_{part}"] = array(num_filters, num_filters)
            arrays[f"CNN_high_{k}/b_{part}"] = array(num_filters)
    if num_filters != projection:
        arrays["CNN_proj/W_proj"], arrays["CNN_proj/b_proj"] = (
            array(num_filters, projection),
            array(projection),
        )
    for direction in range(2):
        for layer in range(num_layers):
            path = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            if one_layer_names:
                path = f"RNN_{direction}/RNN/LSTMCell"
            arrays[f"{path}/W_0"], arrays[f"{path}/B"] = array(2 * projection, 4 * cell), array(4 * cell)
            if cell != projection:
                arrays[f"{path}/W_P_0"] = array(cell, projection)
    cnn: dict[str, Any] = {
        "embedding": {"dim": 4},
        "filters": [list(pair) for pair in filters],
        "activation": activation,
        "max_characters_per_token": max_characters,
        "n_characters": 262,
    }
    if num_highways is not None:
        cnn["n_highway"] = num_highways
    lstm = {
        "dim": cell,
        "projection_dim": projection,
        "n_layers": num_layers,
        "cell_clip": clips[0],
        "proj_clip": clips[1],
        "use_skip_connections": skip,
    }
    return AllenNLP({"lstm": lstm, "char_cnn": cnn}, arrays)


CHARACTERS = ["b", "a", "n", "k", "은", "행", "é", "\u3000", "😀"]
CHARACTER_NAMES = ["<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>"]
WORDS = ["<oov>", "<bos>", "<eos>", "<pad>", "bank", "은행", "the", "\u3000", "banana"]


@dataclass(frozen=True)
class ManyLangs:
    """A model's folder; the tensors of both state dicts by name."""

    config: dict[str, Any]
    embedder: Arrays
    encoder: Arrays
    characters: list[str] = field(default_factory=lambda: [*CHARACTERS, *CHARACTER_NAMES])
    words: list[str] = field(default_factory=lambda: list(WORDS))
    config_path: str = "configs/small.json"

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"config_path": self.config_path}), encoding="utf-8")
        name = self.config_path.replace("\\", "/").rpartition("/")[2]
        (folder / name).write_text(json.dumps(self.config), encoding="utf-8")
        for file, tokens in (("char.dic", self.characters), ("word.dic", self.words)):
            lines = "".join(f"{token}\t{i}\n" for i, token in enumerate(tokens))
            (folder / file).write_text(lines, encoding="utf-8")
        for file, arrays in (("token_embedder.pkl", self.embedder), ("encoder.pkl", self.encoder)):
            save_legacy(folder / file, arrays)
        return folder


def save_legacy(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a state dict as torch before 1.6 did."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def random_manylangs(
    *,
    cell: int = 12,
    projection: int = 8,
    num_layers: int = 2,
    clips: tuple[float | None, float | None] = (3, 3),
    filters: tuple[tuple[int, int], ...] = ((1, 3), (2, 4), (3, 5)),
    num_highways: int = 1,
    activation: str = "relu",
    max_characters: int = 9,
    word_dim: int = 6,
    scale: float = 0.4,
    seed: int = 0,
) -> ManyLangs:
    random = np.random.default_rng(seed)

    def array(*shape: int) -> npt.NDArray[np.float32]:
        return random.uniform(-scale, scale, shape).astype(np.float32)

    num_filters, num_characters = sum(count for _, count in filters), len(CHARACTERS) + len(CHARACTER_NAMES)
    embedder = {
        "char_emb_layer.embedding.weight": array(num_characters, 4),
        "projection.weight": array(projection, word_dim + num_filters),
        "projection.bias": array(projection),
    }
    if word_dim:
        embedder["word_emb_layer.embedding.weight"] = array(len(WORDS), word_dim)
    for i, (width, count) in enumerate(filters):
        embedder[f"convolutions.{i}.weight"] = array(count, 4, width)
        embedder[f"convolutions.{i}.bias"] = array(count)
    for k in range(num_highways):
        embedder[f"highways._layers.{k}.weight"] = array(2 * num_filters, num_filters)
        embedder[f"highways._layers.{k}.bias"] = array(2 * num_filters)
    encoder: Arrays = {}
    for direction in ("forward", "backward"):
        for layer in range(num_layers):
            path = f"{direction}_layer_{layer}"
            encoder[f"{path}.input_linearity.weight"] = array(4 * cell, projection)
            encoder[f"{path}.state_linearity.weight"] = array(4 * cell, projection)
            encoder[f"{path}.state_linearity.bias"] = array(4 * cell)
            encoder[f"{path}.state_projection.weight"] = array(projection, cell)
    config = {
        "encoder": {
            "name": "elmo",
            "projection_dim": projection,
            "cell_clip": clips[0],
            "proj_clip": clips[1],
            "dim": cell,
            "n_layers": num_layers,
        },
        "token_embedder": {
            "name": "cnn",
            "activation": activation,
            "filters": [list(pair) for pair in filters],
            "n_highway": num_highways,
            "word_dim": word_dim,
            "char_dim": 4,
            "max_characters_per_token": max_characters,
        },
        "classifier": {"name": "sampled_softmax", "n_samples": 8192},
        "dropout": 0.1,
    }
    return ManyLangs(config, embedder, encoder)

"""A model's folder as ELMoForManyLangs writes and reads it -> a checkpoint.

Source: HIT-SCIR/ELMoForManyLangs (`elmo.py`, `modules/token_embedder.py`, `modules/elmo.py`).

Letters: d character dim, F filters, P projection (our H and D), C cell, W word dim.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from model.architecture import Architecture
from model.elmo_characters import CodePointRows, WordIds
from model.imports.checkpoint import (
    Checkpoint,
    CheckpointError,
    Floats,
    Options,
    build_architecture,
    check_keys,
    check_values,
    read_bytes,
    source_record,
)

USUAL_CONFIGURATION = "cnn_50_100_512_4096_sample.json"
USUAL: dict[str, Any] = {
    "encoder": {
        "name": "elmo",
        "projection_dim": 512,
        "cell_clip": 3,
        "proj_clip": 3,
        "dim": 4096,
        "n_layers": 2,
    },
    "token_embedder": {
        "name": "cnn",
        "activation": "relu",
        "filters": [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]],
        "n_highway": 2,
        "word_dim": 100,
        "char_dim": 50,
        "max_characters_per_token": 50,
    },
}
"""What the published models were trained with. The file came with the program, not with the models, whose
config.json names it by a path of the authors' machine."""

_ID = re.compile("[0-9]{1,9}")  # no dictionary is longer, and Python reads no integer of 5,000 digits

IDEOGRAPHIC_SPACE = "\u3000"

# What torch.load raises for a file that it cannot or, with weights_only, will not read.
_LOAD_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    OverflowError,
    AssertionError,
    OSError,
)

Listed = TypeVar("Listed")


def read_manylangs(folder: Path) -> Checkpoint:
    """Raise CheckpointError for files that are not of this format, damaged, or not representable exactly."""
    options, path = _options(folder)
    char_path, word_path = folder / "char.dic", folder / "word.dic"
    characters = _dictionary(char_path)
    embedder = options.section("token_embedder")
    words = _dictionary(word_path) if embedder.integer("word_dim", least=0) > 0 else []
    architecture = _architecture(options, len(characters), len(words))
    max_characters = architecture.max_characters or 0
    rows = _listed(char_path, lambda: CodePointRows(characters, max_characters))
    word_ids = _listed(word_path, lambda: WordIds(words)) if words else None
    embedder_path, encoder_path = folder / "token_embedder.pkl", folder / "encoder.pkl"
    embedder_arrays = _read_arrays(embedder_path, _embedder_shapes(architecture))
    encoder_arrays = _read_arrays(encoder_path, _encoder_shapes(architecture))
    tensors = _token_tensors(architecture, embedder_arrays)
    tensors |= _recurrent_tensors(architecture, encoder_arrays)
    sources = [char_path, embedder_path, encoder_path]
    sources += [each for each, is_read in ((word_path, words), (path, path.exists())) if is_read]
    arrays = [*embedder_arrays.values(), *encoder_arrays.values()]
    record = source_record("ELMoForManyLangs", sources, arrays)
    return Checkpoint(architecture, tensors, rows, word_ids, record)


def _options(folder: Path) -> tuple[Options, Path]:
    """Return the configuration that config.json names, and its path. The usual one need not be there."""
    config_path = folder / "config.json"
    config = Options.read(config_path)
    name = PureWindowsPath(config.string("config_path")).name  # which takes both kinds of slash
    path = folder / name
    # Looked for among the names that there are: asking for one that is too long for a file raises an error.
    if name != config_path.name and name in {each.name for each in folder.iterdir() if each.is_file()}:
        return Options.read(path), path
    if name == USUAL_CONFIGURATION:
        return Options(path, USUAL), path
    raise config.error(
        "config_path",
        f"expected {USUAL_CONFIGURATION} or a file of this name in the folder, found {name!r:.100}",
    )


def _architecture(options: Options, num_characters: int, num_words: int) -> Architecture:
    """The other fields of the file are about training."""
    encoder, embedder = options.section("encoder"), options.section("token_embedder")
    encoder.expect_only("name", "projection_dim", "cell_clip", "proj_clip", "dim", "n_layers")
    embedder.expect_only(
        "name", "activation", "filters", "n_highway", "word_dim", "char_dim", "max_characters_per_token"
    )
    encoder.choice("name", "elmo")
    embedder.choice("name", "cnn")
    filters = embedder.filters("filters")
    return build_architecture(
        num_layers=encoder.integer("n_layers"),
        hidden_dim=encoder.integer("projection_dim"),
        cell_dim=encoder.integer("dim"),
        cell_clip=encoder.clip("cell_clip"),
        projection_clip=encoder.clip("proj_clip"),
        character_dim=embedder.integer("char_dim"),
        num_characters=num_characters + 1,
        filters=filters,
        num_highways=embedder.integer("n_highway", least=0),
        activation=embedder.choice("activation", "relu", "tanh"),
        max_characters=embedder.max_characters("max_characters_per_token", filters),
        word_vocabulary_size=num_words,
        word_dim=embedder.integer("word_dim", least=0),
    )


def _dictionary(path: Path) -> list[str]:
    """Return the entries of char.dic or word.dic in the order of their ids. Raises CheckpointError."""
    try:
        text = read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: expected UTF-8, found byte {error.start} to be none") from error
    entries: dict[int, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        *before, digits = line.strip().split("\t")
        if len(before) > 1 or not _ID.fullmatch(digits):
            raise CheckpointError(f"{path}: line {number}: expected TOKEN<tab>ID, found {line!r:.100}")
        # The program strips the line first, and then takes one field for the space that it has lost.
        token = before[0] if before else IDEOGRAPHIC_SPACE
        if entries.setdefault(int(digits), token) != token:
            raise CheckpointError(f"{path}: line {number}: expected each id once, found {digits} again")
    if not entries:
        raise CheckpointError(f"{path}: expected lines of TOKEN<tab>ID, found none")
    if out_of_range := [i for i in entries if i >= len(entries)]:
        raise CheckpointError(
            f"{path}: expected {len(entries)} ids from 0 to {len(entries) - 1}, found {max(out_of_range)}"
        )
    return [entries[i] for i in range(len(entries))]


def _listed(path: Path, build: Callable[[], Listed]) -> Listed:
    try:
        return build()
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _embedder_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    num_filters, projection = architecture.num_filters, architecture.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {
        # The row for "no token" is ours.
        "char_emb_layer.embedding.weight": (architecture.num_characters - 1, architecture.character_dim),
        "projection.weight": (projection, architecture.projection_inputs),
        "projection.bias": (projection,),
    }
    if architecture.word_dim:
        shapes["word_emb_layer.embedding.weight"] = (
            architecture.word_vocabulary_size,
            architecture.word_dim,
        )
    for i, (width, count) in enumerate(architecture.filters):
        shapes[f"convolutions.{i}.weight"] = (count, architecture.character_dim, width)
        shapes[f"convolutions.{i}.bias"] = (count,)
    for i in range(architecture.num_highways):
        shapes[f"highways._layers.{i}.weight"] = (2 * num_filters, num_filters)
        shapes[f"highways._layers.{i}.bias"] = (2 * num_filters,)
    return shapes


def _encoder_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    cell, projection = architecture.gate_dim, architecture.hidden_dim
    parts: dict[str, tuple[int, ...]] = {
        "input_linearity.weight": (4 * cell, projection),
        "state_linearity.weight": (4 * cell, projection),
        "state_linearity.bias": (4 * cell,),
        "state_projection.weight": (projection, cell),
    }
    return {
        f"{direction}_layer_{layer}.{part}": shape
        for direction in ("forward", "backward")
        for layer in range(architecture.num_layers)
        for part, shape in parts.items()
    }


def _read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    """Return the tensors of a state dict. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a file, found none")
    try:
        with warnings.catch_warnings():
            # About a newer kind of pickle than torch writes by default: it is read, or refused.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except _LOAD_ERRORS as error:
        # What torch says before and after the reason is about reading the file all the same.
        reason = str(error).rpartition("WeightsUnpickler error: ")[2].split("\n")[0].split(". ")[0]
        raise CheckpointError(
            f"{path}: expected a dictionary of tensors and nothing else, all that is read of a pickle, found "
            f"another file ({type(error).__name__}: {reason:.300})"
        ) from error
    is_state_dict = isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()
    )
    if not is_state_dict:
        raise CheckpointError(f"{path}: expected a dictionary of tensors, found {type(found).__name__}")
    check_keys(path, found, shapes, "tensor")
    return {
        name: check_values(path, name, _numpy(path, name, found[name], shape), shape)
        for name, shape in shapes.items()
    }


def _numpy(path: Path, name: str, tensor: torch.Tensor, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Raise CheckpointError for a tensor that numpy cannot hold: of bfloat16, sparse, without values."""
    try:
        return tensor.numpy(force=True)
    except (TypeError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise CheckpointError(
            f"{path}: {name}: expected float32 {shape}, found {tensor.dtype} {tuple(tensor.shape)} ({reason})"
        ) from error


def _token_tensors(architecture: Architecture, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    no_token = np.zeros((1, architecture.character_dim), dtype=np.float32)
    characters = arrays["char_emb_layer.embedding.weight"]
    tensors = {
        "char_cnn.character_embedding.weight": np.concatenate([no_token, characters]),
        "char_cnn.projection.weight": arrays["projection.weight"],
        "char_cnn.projection.bias": arrays["projection.bias"],
    }
    if architecture.word_dim:
        tensors["word_embedding.weight"] = arrays["word_emb_layer.embedding.weight"]
    for i in range(len(architecture.filters)):
        for part in ("weight", "bias"):
            tensors[f"char_cnn.convolutions.{i}.{part}"] = arrays[f"convolutions.{i}.{part}"]
    for i in range(architecture.num_highways):
        for part in ("weight", "bias"):
            transform, gate = np.split(arrays[f"highways._layers.{i}.{part}"], 2)
            tensors[f"char_cnn.highways.{i}.transform.{part}"] = transform.copy()
            # This gate weighs what comes in, ours what was transformed: 1 - sigmoid(z) = sigmoid(-z).
            tensors[f"char_cnn.highways.{i}.gate.{part}"] = -gate
    return tensors


def _recurrent_tensors(architecture: Architecture, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """The gates stand in torch's order, and their bias holds that of the forget gate."""
    tensors: dict[str, Floats] = {}
    for direction in ("forward", "backward"):
        for layer in range(architecture.num_layers):
            name, source = f"{direction}_layers.{layer}", f"{direction}_layer_{layer}"
            bias = arrays[f"{source}.state_linearity.bias"]
            tensors[f"{name}.weight_ih_l0"] = arrays[f"{source}.input_linearity.weight"]
            tensors[f"{name}.weight_hh_l0"] = arrays[f"{source}.state_linearity.weight"]
            tensors[f"{name}.bias_ih_l0"] = bias
            tensors[f"{name}.bias_hh_l0"] = np.zeros_like(bias)
            tensors[f"{name}.weight_hr_l0"] = arrays[f"{source}.state_projection.weight"]
    return tensors

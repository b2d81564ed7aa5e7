"""options.json and weights.hdf5, as bilm-tf writes and AllenNLP reads them -> a checkpoint.

Sources: allenai/bilm-tf (`bilm/model.py`, `dump_weights`), allenai/allennlp 0.9 (`ElmoLstm`,
`_ElmoCharacterEncoder`); Peters et al. 2018 (arXiv:1802.05365).

Letters: d character dim, F filters, P projection (our H and D), C cell, M characters of a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from model.architecture import Architecture
from model.elmo_characters import ByteRows
from model.imports.checkpoint import (
    Checkpoint,
    CheckpointError,
    Floats,
    Options,
    build_architecture,
    check_keys,
    check_values,
    source_record,
)

NUM_ROWS = ByteRows.num_characters - 1
"""Of the character table in the file, which has no row for "no token"."""

FORGET_BIAS = 1.0
"""Added by TensorFlow's cell, and not part of the stored bias."""

_DIRECTIONS = ("forward", "backward")

# What h5py raises for a file that is damaged, or has values of a type that numpy has not.
_READ_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)


def read_allennlp(options_path: Path, weights_path: Path) -> Checkpoint:
    """Raise CheckpointError for files that are not of this format, damaged, or not representable exactly."""
    options = Options.read(options_path)
    architecture = _architecture(options)
    arrays = _read_arrays(weights_path, architecture)
    rows = ByteRows(architecture.max_characters or 0)
    record = source_record("bilm-tf", [options_path, weights_path], arrays.values())
    return Checkpoint(architecture, _tensors(architecture, arrays), rows, None, record)


def _architecture(options: Options) -> Architecture:
    """The other fields of the file are about training: neither original reads them to compute vectors."""
    if "char_cnn" not in options:
        raise options.error(
            "char_cnn",
            "expected a character CNN, found none: a model of whole words needs its vocabulary, which is in "
            "neither file",
        )
    if "bidirectional" in options:
        options.choice("bidirectional", True)
    lstm, cnn = options.section("lstm"), options.section("char_cnn")
    lstm.expect_only("dim", "projection_dim", "n_layers", "cell_clip", "proj_clip", "use_skip_connections")
    cnn.expect_only(
        "embedding", "filters", "n_highway", "activation", "max_characters_per_token", "n_characters"
    )
    embedding = cnn.section("embedding")
    embedding.expect_only("dim")
    cnn.choice("n_characters", 261, 262)  # 262 counts the row that loaders put in front
    cell_dim, projection_dim = lstm.integer("dim"), lstm.integer("projection_dim")
    filters = cnn.filters("filters")
    is_projected = cell_dim != projection_dim
    projection_clip = lstm.clip("proj_clip")
    return build_architecture(
        num_layers=lstm.integer("n_layers"),
        hidden_dim=projection_dim,
        cell_dim=cell_dim if is_projected else None,
        cell_clip=lstm.clip("cell_clip"),
        projection_clip=projection_clip if is_projected else None,  # bilm-tf clips what it projects
        residual=lstm.boolean("use_skip_connections"),
        character_dim=embedding.integer("dim"),
        num_characters=ByteRows.num_characters,
        filters=filters,
        num_highways=cnn.integer("n_highway", least=0, default=0),
        activation=cnn.choice("activation", "relu", "tanh"),
        max_characters=cnn.max_characters("max_characters_per_token", filters),
        project_characters=sum(count for _, count in filters) != projection_dim,
    )


def _cell(direction: int, layer: int) -> str:
    return f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"


def _only_cell(direction: int) -> str:
    """What bilm-tf calls the cell of a model of one layer, which neither original finds again."""
    return f"RNN_{direction}/RNN/LSTMCell"


def _shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of every dataset."""
    num_filters, projection = architecture.num_filters, architecture.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (NUM_ROWS, architecture.character_dim)}
    for i, (width, count) in enumerate(architecture.filters):
        shapes[f"CNN/W_cnn_{i}"] = (1, width, architecture.character_dim, count)
        shapes[f"CNN/b_cnn_{i}"] = (count,)
    for i in range(architecture.num_highways):
        for part in ("carry", "transform"):
            shapes[f"CNN_high_{i}/W_{part}"] = (num_filters, num_filters)
            shapes[f"CNN_high_{i}/b_{part}"] = (num_filters,)
    if architecture.project_characters:
        shapes["CNN_proj/W_proj"] = (num_filters, projection)
        shapes["CNN_proj/b_proj"] = (projection,)
    for direction in range(len(_DIRECTIONS)):
        for layer in range(architecture.num_layers):
            cell = _cell(direction, layer)
            shapes[f"{cell}/W_0"] = (2 * projection, 4 * architecture.gate_dim)
            shapes[f"{cell}/B"] = (4 * architecture.gate_dim,)
            if architecture.cell_dim is not None:
                shapes[f"{cell}/W_P_0"] = (architecture.cell_dim, projection)
    return shapes


def _read_arrays(path: Path, architecture: Architecture) -> dict[str, Floats]:
    """Return every dataset by name. Raises CheckpointError."""
    with _readable(str(path)), h5py.File(path, "r") as file:
        found = _datasets(file, path)
        if architecture.num_layers == 1:
            found = {_usual_name(name): dataset for name, dataset in found.items()}
        shapes = _shapes(architecture)
        check_keys(path, found, shapes, "dataset")
        for name, shape in shapes.items():  # before gigabytes are read
            with _readable(f"{path}: {name}"):
                _check_dataset(path, name, found[name], shape)
        arrays = {}
        for name, shape in shapes.items():
            with _readable(f"{path}: {name}"):
                arrays[name] = check_values(path, name, found[name][()], shape)
        return arrays


@contextmanager
def _readable(place: str) -> Iterator[None]:
    """Turn what h5py raises for a damaged file into a CheckpointError; place: the file, and the dataset."""
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f"{place}: expected a file, found none") from error
    except MemoryError as error:  # a few bytes can declare values without end
        raise CheckpointError(f"{place}: expected what fits into memory, found more: {error}") from error
    except _READ_ERRORS as error:
        raise CheckpointError(f"{place}: expected a whole HDF5 file, found another: {error}") from error


def _check_dataset(path: Path, name: str, dataset: h5py.Dataset, shape: tuple[int, ...]) -> None:
    """Raise CheckpointError unless it has this shape, and values: HDF5 gives zeros for what was never
    written."""
    if dataset.shape != shape:
        raise CheckpointError(
            f"{path}: {name}: expected float32 {shape}, found {dataset.dtype} {dataset.shape}"
        )
    if dataset.id.get_storage_size() == 0:
        raise CheckpointError(f"{path}: {name}: expected values, found none: only their shape was written")


def _datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Return every dataset of the file itself by its full name; links out of it are not followed."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise CheckpointError(f"{path}: {name}: expected values in this file, found them in another")
            found[os.fsdecode(name)] = item  # h5py gives a name that is no UTF-8 as bytes

    file.visititems(collect)
    return found


def _usual_name(name: str) -> str:
    for direction in range(len(_DIRECTIONS)):
        name = name.replace(f"{_only_cell(direction)}/", f"{_cell(direction, 0)}/")
    return name


def _tensors(architecture: Architecture, arrays: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the weights by their names in a bundle, in torch's layouts."""
    no_token = np.zeros((1, architecture.character_dim), dtype=np.float32)
    tensors = {"char_cnn.character_embedding.weight": np.concatenate([no_token, arrays["char_embed"]])}
    for i in range(len(architecture.filters)):
        name = f"char_cnn.convolutions.{i}"
        tensors[f"{name}.weight"] = arrays[f"CNN/W_cnn_{i}"][0].transpose(2, 1, 0)
        tensors[f"{name}.bias"] = arrays[f"CNN/b_cnn_{i}"]
    for i in range(architecture.num_highways):
        # "carry" weighs what was transformed, as our gate does.
        for part, source in (("gate", "carry"), ("transform", "transform")):
            tensors[f"char_cnn.highways.{i}.{part}.weight"] = arrays[f"CNN_high_{i}/W_{source}"].T
            tensors[f"char_cnn.highways.{i}.{part}.bias"] = arrays[f"CNN_high_{i}/b_{source}"]
    if architecture.project_characters:
        tensors["char_cnn.projection.weight"] = arrays["CNN_proj/W_proj"].T
        tensors["char_cnn.projection.bias"] = arrays["CNN_proj/b_proj"]
    for direction, prefix in enumerate(_DIRECTIONS):
        for layer in range(architecture.num_layers):
            name, cell = f"{prefix}_layers.{layer}", _cell(direction, layer)
            weight = _in_torch_order(arrays[f"{cell}/W_0"])
            bias = _in_torch_order(arrays[f"{cell}/B"])
            bias[architecture.gate_dim : 2 * architecture.gate_dim] += np.float32(FORGET_BIAS)
            tensors[f"{name}.weight_ih_l0"] = weight[: architecture.hidden_dim].T
            tensors[f"{name}.weight_hh_l0"] = weight[architecture.hidden_dim :].T
            tensors[f"{name}.bias_ih_l0"] = bias
            tensors[f"{name}.bias_hh_l0"] = np.zeros_like(bias)
            if architecture.cell_dim is not None:
                tensors[f"{name}.weight_hr_l0"] = arrays[f"{cell}/W_P_0"].T
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _in_torch_order(gates: Floats) -> Floats:
    """Return the last axis, four blocks of equal size, as input, forget, cell, output: TensorFlow has the
    forget gate after the cell."""
    input_gate, cell_gate, forget_gate, output_gate = np.split(gates, 4, axis=-1)
    return np.concatenate([input_gate, forget_gate, cell_gate, output_gate], axis=-1)

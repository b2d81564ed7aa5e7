"""options.json and weights.hdf5: what is read of them, and how each mistake is told."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.imports.allennlp import read_allennlp
from model.imports.checkpoint import Checkpoint, CheckpointError
from tests.golden.parity_fixtures import Fixture, all_fixtures
from tests.model.imports.random_checkpoints import AllenNLP, random_allennlp

CELL = "RNN_0/RNN/MultiRNNCell/Cell1/LSTMCell"


def read(source: AllenNLP, folder: Path) -> Checkpoint:
    return read_allennlp(*source.write(folder))


def assert_refused(source: AllenNLP, folder: Path, file: str, message: str) -> None:
    """message: a regular expression of what follows the file's path."""
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(folder / file))}: {message}"):
        read(source, folder)


@pytest.mark.parametrize(
    "fixture", [each for each in all_fixtures() if each.format == "allennlp"], ids=lambda each: each.name
)
def test_every_published_shape_is_read(fixture: Fixture) -> None:
    checkpoint = read_allennlp(*fixture.arguments)
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    assert shapes == checkpoint.architecture.tensor_shapes()
    assert all(tensor.dtype == np.float32 for tensor in checkpoint.tensors.values())


def test_weights_become_torchs(tmp_path: Path) -> None:
    """Gates i, j, f, o become i, f, g, o, and the forget gate gets the 1 that TensorFlow adds itself."""
    source = random_allennlp()
    tensors = read(source, tmp_path).tensors
    weight, bias = source.arrays[f"{CELL}/W_0"], source.arrays[f"{CELL}/B"]
    blocks = dict(zip("ijfo", np.split(weight, 4, axis=1), strict=True))
    by_gate = [tensors["forward_layers.1.weight_ih_l0"], tensors["forward_layers.1.weight_hh_l0"]]
    for gate, of_input, of_state in zip("ifjo", *(np.split(each, 4) for each in by_gate), strict=True):
        np.testing.assert_array_equal(of_input, blocks[gate][:8].T)
        np.testing.assert_array_equal(of_state, blocks[gate][8:].T)
    biases = np.split(bias, 4)
    expected = np.concatenate([biases[0], biases[2] + 1, biases[1], biases[3]])
    np.testing.assert_array_equal(tensors["forward_layers.1.bias_ih_l0"], expected)
    assert not tensors["forward_layers.1.bias_hh_l0"].any()
    np.testing.assert_array_equal(tensors["forward_layers.1.weight_hr_l0"], source.arrays[f"{CELL}/W_P_0"].T)
    assert not tensors["char_cnn.character_embedding.weight"][0].any()


def test_what_the_options_say(tmp_path: Path) -> None:
    source = random_allennlp(
        num_layers=3,
        clips=(0.5, None),
        skip=False,
        activation="tanh",
        filters=((3, 2), (1, 7)),
        num_highways=None,
    )
    architecture = read(source, tmp_path).architecture
    assert (architecture.num_layers, architecture.hidden_dim, architecture.cell_dim) == (3, 8, 12)
    assert (architecture.cell_clip, architecture.projection_clip) == (0.5, None)
    assert not architecture.residual
    assert architecture.activation == "tanh"
    assert architecture.filters == ((3, 2), (1, 7))
    assert (architecture.num_highways, architecture.max_characters) == (0, 9)
    assert not architecture.has_softmax


def test_a_cell_as_wide_as_its_output_is_not_projected(tmp_path: Path) -> None:
    """Nor clipped after the projection that it has not."""
    architecture = read(random_allennlp(cell=8, projection=8), tmp_path).architecture
    assert (architecture.cell_dim, architecture.projection_clip, architecture.cell_clip) == (None, None, 3.0)


def test_filters_as_wide_as_the_output_are_not_projected(tmp_path: Path) -> None:
    checkpoint = read(random_allennlp(projection=12), tmp_path)
    assert not checkpoint.architecture.project_characters
    assert "char_cnn.projection.weight" not in checkpoint.tensors


def test_keys_of_training_are_passed_over(tmp_path: Path) -> None:
    source = random_allennlp()
    more = {"bidirectional": True, "dropout": 0.1, "batch_size": 128, "unroll_steps": 20, "n_epochs": 10}
    source.options.update(more | {"n_tokens_vocab": 793471, "n_train_tokens": 768648884})
    source.options["char_cnn"]["n_characters"] = 261
    assert read(source, tmp_path).architecture.num_characters == 262


def test_the_names_of_a_model_of_one_layer(tmp_path: Path) -> None:
    """bilm-tf writes others then, and neither original finds them again; the network is the same."""
    usual, other = (random_allennlp(num_layers=1, one_layer_names=names) for names in (False, True))
    assert usual.arrays.keys() != other.arrays.keys()
    expected, found = (read(each, tmp_path / str(i)).tensors for i, each in enumerate((usual, other)))
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_the_record_names_the_files_and_their_hashes(tmp_path: Path) -> None:
    record = read(random_allennlp(), tmp_path).record
    assert record["imported_from"] == "bilm-tf"
    assert record["sources"].keys() == {"options.json", "weights.hdf5"}
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in record["sources"].values())


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(options: dict[str, Any]) -> None:
        for key in keys[:-1]:
            options = options[key]
        del options[keys[-1]]

    return change


def put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(options: dict[str, Any]) -> None:
        for key in keys[:-1]:
            options = options[key]
        options[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("lstm"), "lstm: expected a value, found none$"),
        (drop("char_cnn"), "char_cnn: expected a character CNN, found none: a model of whole words needs "),
        (put([], "lstm"), r"lstm: expected an object, found \[\]$"),
        (drop("lstm", "dim"), r"lstm\.dim: expected a value, found none$"),
        (put("64", "lstm", "dim"), r"lstm\.dim: expected an integer, got '64'$"),
        (put(True, "lstm", "n_layers"), r"lstm\.n_layers: expected an integer, got True$"),
        (put(0, "lstm", "n_layers"), r"lstm\.n_layers: expected an integer from 1 to 100000, got 0$"),
        (put(10**9, "lstm", "n_layers"), r"lstm\.n_layers: expected an integer from 1 to 100000, got 10{9}$"),
        (
            put(-1, "char_cnn", "n_highway"),
            r"char_cnn\.n_highway: expected an integer from 0 to 100000, got -1$",
        ),
        (put("3", "lstm", "cell_clip"), r"lstm\.cell_clip: expected a number, got '3'$"),
        (put(-1, "lstm", "cell_clip"), r"lstm\.cell_clip: expected a finite number above 0, got -1\.0$"),
        (
            put(float("inf"), "lstm", "proj_clip"),
            r"lstm\.proj_clip: expected a finite number above 0, got inf$",
        ),
        (
            put(10**400, "lstm", "cell_clip"),
            r"lstm\.cell_clip: expected a number that a float can hold, got 10{99}$",
        ),
        (
            put(1, "lstm", "use_skip_connections"),
            r"lstm\.use_skip_connections: expected true or false, got 1$",
        ),
        (drop("lstm", "use_skip_connections"), r"lstm\.use_skip_connections: expected a value, found none$"),
        (put(1, "lstm", "peepholes"), r"lstm\.peepholes: expected one of dim, .*, found another option$"),
        (
            put("gelu", "char_cnn", "activation"),
            r'char_cnn\.activation: expected "relu" or "tanh", found \'gelu\'$',
        ),
        (put(263, "char_cnn", "n_characters"), r"char_cnn\.n_characters: expected 261 or 262, found 263$"),
        (
            put(2, "char_cnn", "max_characters_per_token"),
            r"char_cnn\.max_characters_per_token: expected an integer from 3 to 100000, got 2$",
        ),
        (
            put([[1, 2, 3]], "char_cnn", "filters"),
            r"char_cnn\.filters: expected \[width, count\] pairs, got ",
        ),
        (put([], "char_cnn", "filters"), r"char_cnn\.filters: expected \[width, count\] pairs, got \[\]$"),
        (
            put([[1, 3], [2, 0]], "char_cnn", "filters"),
            r"char_cnn\.filters: expected integers from 1 to 100000, got \(2, 0\)$",
        ),
        (
            put([[10, 3]], "char_cnn", "filters"),
            r"char_cnn\.max_characters_per_token: expected an integer from 10 to 100000, got 9$",
        ),
        (
            put({"dim": 4, "rows": 9}, "char_cnn", "embedding"),
            r"char_cnn\.embedding\.rows: expected one of dim",
        ),
        (put(False, "bidirectional"), "bidirectional: expected true, found False$"),
    ],
)
def test_a_wrong_option(tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str) -> None:
    source = random_allennlp()
    change(source.options)
    assert_refused(source, tmp_path, "options.json", message)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff{}", b"[" * 10**6])
def test_options_that_are_no_json(tmp_path: Path, content: bytes) -> None:
    options, weights = random_allennlp().write(tmp_path)
    options.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"options\.json: expected JSON in UTF-8, found something else: "
    ):
        read_allennlp(options, weights)


@pytest.mark.parametrize("name", ["options.json", "weights.hdf5"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    paths = random_allennlp().write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: expected a (readable )?file, found"):
        read_allennlp(*paths)


@pytest.mark.parametrize(
    "name", ["char_embed", "CNN/b_cnn_2", "CNN_high_0/W_carry", "CNN_proj/W_proj", f"{CELL}/W_P_0"]
)
def test_a_missing_dataset(tmp_path: Path, name: str) -> None:
    source = random_allennlp()
    del source.arrays[name]
    message = f"{name}: expected a dataset of this name, found none$"
    assert_refused(source, tmp_path, "weights.hdf5", message)


@pytest.mark.parametrize("name", ["CNN/W_cnn_3", "CNN_high_1/W_carry", "softmax/W", f"{CELL}/W_F_diag"])
def test_a_dataset_too_many(tmp_path: Path, name: str) -> None:
    """It may belong to a network of another kind, as the peepholes do."""
    source = random_allennlp()
    source.arrays[name] = np.zeros(3, dtype=np.float32)
    message = f"{name}: expected no dataset of this name, found one$"
    assert_refused(source, tmp_path, "weights.hdf5", message)


def test_a_projection_that_the_sizes_do_not_ask_for(tmp_path: Path) -> None:
    source = random_allennlp(cell=8, projection=8)
    source.arrays[f"{CELL}/W_P_0"] = np.zeros((8, 8), dtype=np.float32)
    message = f"{CELL}/W_P_0: expected no dataset of this name, found one$"
    assert_refused(source, tmp_path, "weights.hdf5", message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "char_embed",
            np.zeros((262, 4), np.float32),
            r"expected float32 \(261, 4\), found float32 \(262, 4\)$",
        ),
        ("CNN/W_cnn_1", np.zeros((2, 4, 4), np.float32), r"expected float32 \(1, 2, 4, 4\), found float32 "),
        (
            f"{CELL}/W_0",
            np.zeros((48, 16), np.float32),
            r"expected float32 \(16, 48\), found float32 \(48, 16\)$",
        ),
        (f"{CELL}/B", np.zeros(48, np.float64), r"expected float32 \(48,\), found float64 \(48,\)$"),
        (f"{CELL}/B", np.zeros(48, np.int32), r"expected float32 \(48,\), found int32 \(48,\)$"),
        (f"{CELL}/B", np.full(48, np.nan, np.float32), "expected finite values, found nan$"),
        (f"{CELL}/B", np.full(48, -np.inf, np.float32), "expected finite values, found -inf$"),
    ],
)
def test_a_wrong_dataset(tmp_path: Path, name: str, value: Any, message: str) -> None:
    source = random_allennlp()
    source.arrays[name] = value
    assert_refused(source, tmp_path, "weights.hdf5", f"{name}: {message}")


def test_another_byte_order_is_only_another_byte_order(tmp_path: Path) -> None:
    source = random_allennlp()
    expected = read(source, tmp_path / "little").tensors
    swapped = {name: array.astype(">f4") for name, array in source.arrays.items()}
    found = read(AllenNLP(source.options, swapped), tmp_path / "big").tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_the_options_of_the_weights_are_what_counts(tmp_path: Path) -> None:
    """The files of two models do not go together."""
    source, other = random_allennlp(), random_allennlp(cell=16)
    mixed = AllenNLP(copy.deepcopy(other.options), source.arrays)
    assert json.dumps(mixed.options) != json.dumps(source.options)
    assert_refused(mixed, tmp_path, "weights.hdf5", r"RNN_0/.*: expected float32 \(16, 64\), found float32 ")

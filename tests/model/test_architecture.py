from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest

from model.architecture import Architecture, Cell, Tail

ARCHITECTURE = Architecture(
    cell="gru",
    num_layers=2,
    hidden_dim=64,
    character_dim=16,
    num_characters=300,
    filters=((1, 32), (3, 48)),
    num_highways=1,
    vocabulary_size=1000,
    adaptive_cutoffs=(200, 500),
    adaptive_div_value=4.0,
)


def test_derived_sizes() -> None:
    assert ARCHITECTURE.num_vector_layers == 3
    assert ARCHITECTURE.dimension == 128
    assert ARCHITECTURE.num_filters == 80
    assert ARCHITECTURE.tails == (Tail(200, 500, dim=16), Tail(500, 1000, dim=4))
    assert [tail.size for tail in ARCHITECTURE.tails] == [300, 500]


def test_a_full_softmax_has_no_tails() -> None:
    assert replace(ARCHITECTURE, adaptive_cutoffs=()).tails == ()


def test_tensor_shapes() -> None:
    one_layer = replace(ARCHITECTURE, num_layers=1)
    directions = {
        f"{direction}_layers.0.{name}_l0": shape
        for direction in ("forward", "backward")
        for name, shape in {
            "weight_ih": (192, 64),
            "weight_hh": (192, 64),
            "bias_ih": (192,),
            "bias_hh": (192,),
        }.items()
    }
    assert one_layer.tensor_shapes() == {
        "char_cnn.character_embedding.weight": (300, 16),
        "char_cnn.convolutions.0.weight": (32, 16, 1),
        "char_cnn.convolutions.0.bias": (32,),
        "char_cnn.convolutions.1.weight": (48, 16, 3),
        "char_cnn.convolutions.1.bias": (48,),
        "char_cnn.highways.0.transform.weight": (80, 80),
        "char_cnn.highways.0.transform.bias": (80,),
        "char_cnn.highways.0.gate.weight": (80, 80),
        "char_cnn.highways.0.gate.bias": (80,),
        "char_cnn.projection.weight": (64, 80),
        "char_cnn.projection.bias": (64,),
        **directions,
        "softmax.head.weight": (202, 64),
        "softmax.head.bias": (202,),
        "softmax.tail.0.0.weight": (16, 64),
        "softmax.tail.0.1.weight": (300, 16),
        "softmax.tail.1.0.weight": (4, 64),
        "softmax.tail.1.1.weight": (500, 4),
    }


def test_tensor_shapes_of_a_full_softmax() -> None:
    shapes = replace(ARCHITECTURE, adaptive_cutoffs=()).tensor_shapes()
    softmax = {name: shape for name, shape in shapes.items() if name.startswith("softmax")}
    assert softmax == {"softmax.weight": (1000, 64), "softmax.bias": (1000,)}


@pytest.mark.parametrize(("cell", "rows"), [("lstm", 256), ("gru", 192), ("rnn", 64)])
def test_gates_by_cell(cell: Any, rows: int) -> None:
    shapes = replace(ARCHITECTURE, cell=cell).tensor_shapes()
    assert shapes["backward_layers.1.weight_hh_l0"] == (rows, 64)


def test_json_gives_it_back() -> None:
    assert Architecture.from_dict(json.loads(json.dumps(ARCHITECTURE.to_dict()))) == ARCHITECTURE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "transformer"}, r"^cell: expected one of lstm, gru, rnn, got 'transformer'$"),
        ({"cell": 3}, r"^cell: expected a string, got 3$"),
        ({"num_layers": 0}, r"^num_layers: expected at least 1, got 0$"),
        ({"num_layers": 2.0}, r"^num_layers: expected an integer, got 2\.0$"),
        ({"hidden_dim": True}, r"^hidden_dim: expected an integer, got True$"),
        ({"character_dim": "16"}, r"^character_dim: expected an integer, got '16'$"),
        ({"num_characters": 1}, r"^num_characters: expected at least 2, got 1$"),
        ({"num_highways": -1}, r"^num_highways: expected at least 0, got -1$"),
        ({"vocabulary_size": None}, r"^vocabulary_size: expected an integer, got None$"),
        ({"filters": []}, r"^filters: expected one or more \(width, count\) pairs, .* got \(\)$"),
        ({"filters": [[0, 4]]}, r"^filters: expected one or more .*, got \(\(0, 4\),\)$"),
        ({"filters": [[1, 2, 3]]}, r"^filters: expected \(width, count\) pairs, got \[1, 2, 3\]$"),
        ({"filters": [4]}, r"^filters: expected a list, got 4$"),
        ({"adaptive_cutoffs": [500, 200]}, r"^adaptive_cutoffs: expected increasing .* got \(500, 200\)$"),
        ({"adaptive_cutoffs": [0]}, r"^adaptive_cutoffs: expected .* got \(0,\)$"),
        ({"adaptive_cutoffs": [1000]}, r"^adaptive_cutoffs: .* vocabulary_size - 1 = 999, got \(1000,\)$"),
        ({"adaptive_cutoffs": "200"}, r"^adaptive_cutoffs: expected a list, got '200'$"),
        ({"adaptive_div_value": 0.5}, r"^adaptive_div_value: expected .* at least 1, got 0\.5$"),
        ({"adaptive_div_value": float("nan")}, r"^adaptive_div_value: expected a finite number .* got nan$"),
        ({"adaptive_div_value": "4"}, r"^adaptive_div_value: expected a number, got '4'$"),
        (
            {"adaptive_div_value": 9},
            r"^adaptive_div_value: expected hidden_dim / adaptive_div_value \*\* 2 >= 1",
        ),
        ({"adaptive_div_value": 1e300}, r"^adaptive_div_value: expected hidden_dim / "),
        ({"dropout": 0.1}, r"^unknown field 'dropout': expected cell, num_layers, "),
        ({"vocabulary_size": 0}, r"^adaptive_cutoffs: expected none without a vocabulary, got \(200, 500\)$"),
        ({"cell_dim": 128}, r"^cell_dim: expected none for gru, got 128$"),
        ({"cell_clip": 3}, r"^cell_clip: expected none for gru, got 3\.0$"),
        ({"cell": "lstm", "cell_dim": 0}, r"^cell_dim: expected at least 1, got 0$"),
        ({"cell": "lstm", "cell_clip": 0}, r"^cell_clip: expected a finite number above 0, got 0\.0$"),
        ({"cell": "lstm", "cell_clip": None}, r"^cell_clip: expected a number, got None$"),
        ({"projection_clip": 3}, r"^projection_clip: expected none without cell_dim, .* got 3\.0$"),
        (
            {"cell": "lstm", "cell_dim": 9, "projection_clip": float("inf")},
            r"^projection_clip: expected a finite number above 0, got inf$",
        ),
        ({"residual": 1}, r"^residual: expected true or false, got 1$"),
        ({"activation": "gelu"}, r"^activation: expected one of relu, tanh, got 'gelu'$"),
        ({"max_characters": 2}, r"^max_characters: expected at least 3, the widest filter, got 2$"),
        ({"project_characters": False}, r"^project_characters: expected true .* = 64, got false with 80$"),
        ({"word_dim": 4}, r"^word_dim: expected above 0 with a word_vocabulary_size .* got 4 with 0$"),
        ({"word_vocabulary_size": 4}, r"^word_dim: expected above 0 with .* got 0 with 4$"),
    ],
)
def test_wrong_fields(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.from_dict(ARCHITECTURE.to_dict() | changes)


@pytest.mark.parametrize("name", list(ARCHITECTURE.to_dict()))
def test_missing_fields(name: str) -> None:
    values = ARCHITECTURE.to_dict()
    del values[name]
    with pytest.raises(ValueError, match=rf"^missing field '{name}': expected cell, "):
        Architecture.from_dict(values)


def test_an_integer_is_a_number() -> None:
    found = Architecture.from_dict(ARCHITECTURE.to_dict() | {"adaptive_div_value": 4})
    assert found == ARCHITECTURE
    assert isinstance(found.adaptive_div_value, float)


def test_state_shape_is_what_the_cell_carries() -> None:
    """An LSTM has h and c in each layer and direction, the others h alone."""
    shapes = {cell: replace(ARCHITECTURE, cell=cell).state_shape for cell in get_args(Cell)}
    assert shapes == {"lstm": (2, 2, 2, 64), "gru": (1, 2, 2, 64), "rnn": (1, 2, 2, 64)}


PUBLISHED = Architecture(
    cell="lstm",
    num_layers=2,
    hidden_dim=64,
    character_dim=16,
    num_characters=262,
    filters=((1, 32), (3, 48)),
    num_highways=1,
    vocabulary_size=0,
    adaptive_cutoffs=(),
    adaptive_div_value=1.0,
    cell_dim=256,
    cell_clip=3.0,
    projection_clip=3.0,
    residual=False,
    activation="tanh",
    max_characters=50,
    word_vocabulary_size=900,
    word_dim=10,
)


def test_tensor_shapes_of_a_published_network() -> None:
    shapes = PUBLISHED.tensor_shapes()
    assert {
        name.removeprefix("backward_layers.1."): shape
        for name, shape in shapes.items()
        if name.startswith("backward_layers.1.")
    } == {
        "weight_ih_l0": (1024, 64),
        "weight_hh_l0": (1024, 64),
        "bias_ih_l0": (1024,),
        "bias_hh_l0": (1024,),
        "weight_hr_l0": (64, 256),
    }
    assert shapes["char_cnn.projection.weight"] == (64, 90)
    assert shapes["word_embedding.weight"] == (900, 10)
    assert not [name for name in shapes if name.startswith("softmax")]


def test_characters_that_are_not_projected() -> None:
    network = replace(PUBLISHED, hidden_dim=80, project_characters=False, word_dim=0, word_vocabulary_size=0)
    assert not [name for name in network.tensor_shapes() if "projection" in name or "word" in name]


def test_a_projected_or_clipped_state_lies_in_one_part() -> None:
    assert PUBLISHED.state_shape == (1, 2, 2, 64 + 256)
    square = replace(PUBLISHED, cell_dim=None, projection_clip=None)
    assert square.state_shape == (1, 2, 2, 64 + 64)
    assert replace(square, cell_clip=None).state_shape == (2, 2, 2, 64)


def test_a_manifest_holds_only_what_is_no_default() -> None:
    more = PUBLISHED.to_dict().keys() - ARCHITECTURE.to_dict().keys()
    assert more == {
        "cell_dim",
        "cell_clip",
        "projection_clip",
        "residual",
        "activation",
        "max_characters",
        "word_vocabulary_size",
        "word_dim",
    }
    assert Architecture.from_dict(json.loads(json.dumps(PUBLISHED.to_dict()))) == PUBLISHED


def test_what_was_imported_is_not_trained_further() -> None:
    ARCHITECTURE.check_trainable()
    expected = r"^expected a network that was trained here: .* found cell_dim = 256, .*, vocabulary_size = 0$"
    with pytest.raises(ValueError, match=expected):
        PUBLISHED.check_trainable()

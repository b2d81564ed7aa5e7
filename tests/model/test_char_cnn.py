"""Shape letters: N tokens, C characters, E character dim, F filters, D token-vector dim."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from model.architecture import Architecture
from model.char_cnn import CharCNN

Array = npt.NDArray[np.float64]

ARCHITECTURE = Architecture(
    cell="lstm",
    num_layers=1,
    hidden_dim=6,
    character_dim=4,
    num_characters=30,
    filters=((1, 3), (2, 4), (5, 2)),
    num_highways=2,
    vocabulary_size=10,
    adaptive_cutoffs=(),
    adaptive_div_value=1.0,
)
# Lengths 1 to 6: one is shorter than the widest filter, and one is all padding.
CHAR_IDS_NC = torch.tensor(
    [
        [1, 7, 8, 9, 10, 2],
        [1, 2, 0, 0, 0, 0],
        [1, 29, 29, 2, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [5, 0, 0, 0, 0, 0],
        [1, 4, 17, 5, 2, 0],
    ]
)


def char_cnn(architecture: Architecture = ARCHITECTURE) -> CharCNN:
    """Return a network whose weights and biases are all random, but for the row of the padding."""
    generator = torch.Generator().manual_seed(7)
    network = CharCNN(architecture)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.4, generator=generator)
        network.character_embedding.weight[0] = 0
    return network


def formula(network: CharCNN, architecture: Architecture, char_ids_NC: Tensor) -> Array:
    """Return (N, D) by the formula of Kim et al. 2016, equations 5, 6 and 8, one token at a time."""
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return np.stack([_token_vector(weights, architecture, ids_C) for ids_C in char_ids_NC.numpy()])


def _token_vector(
    weights: dict[str, Array], architecture: Architecture, ids_C: npt.NDArray[np.int64]
) -> Array:
    if not ids_C.any():
        return np.zeros(architecture.hidden_dim)
    num_characters = len(ids_C)
    maxima: list[float] = []
    for i, (width, count) in enumerate(architecture.filters):
        kernel_fEw, bias_f = weights[f"convolutions.{i}.weight"], weights[f"convolutions.{i}.bias"]
        # After the last character comes padding, as much as the filter is wide: one window is padding alone.
        e_CE = np.zeros((num_characters + width, architecture.character_dim))
        e_CE[:num_characters] = weights["character_embedding.weight"][ids_C]
        for f in range(count):
            windows = [e_CE[p : p + width].T for p in range(num_characters + 1)]
            responses = [np.sum(kernel_fEw[f] * window_Ew) + bias_f[f] for window_Ew in windows]
            assert responses[-1] == bias_f[f]
            maxima.append(max(0, *responses))
    x_F = np.array(maxima)
    for k in range(architecture.num_highways):
        gate_F = 1 / (1 + np.exp(-_linear(weights, f"highways.{k}.gate", x_F)))
        x_F = gate_F * np.maximum(0, _linear(weights, f"highways.{k}.transform", x_F)) + (1 - gate_F) * x_F
    return _linear(weights, "projection", x_F)


def _linear(weights: dict[str, Array], name: str, x: Array) -> Array:
    product: Array = weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]
    return product


@pytest.mark.parametrize("num_highways", [0, 1, 2])
@pytest.mark.parametrize("filters", [((1, 1),), ((1, 3), (2, 4), (5, 2)), ((9, 5), (3, 1))])
def test_the_whole_formula(num_highways: int, filters: tuple[tuple[int, int], ...]) -> None:
    architecture = replace(ARCHITECTURE, num_highways=num_highways, filters=filters)
    network = char_cnn(architecture).double()
    vectors_ND = network(CHAR_IDS_NC)
    assert vectors_ND.shape == (6, 6)
    expected_ND = formula(network, architecture, CHAR_IDS_NC)
    np.testing.assert_allclose(vectors_ND.detach().numpy(), expected_ND, rtol=1e-12, atol=1e-12)


def test_a_window_of_padding_alone_counts_in_the_maximum() -> None:
    """By hand: the filter answers -2 and -3 to the characters, 0 to padding; bias 0.5; then 10 x + 1."""
    architecture = replace(
        ARCHITECTURE, hidden_dim=1, character_dim=1, num_characters=3, filters=((1, 1),), num_highways=0
    )
    network = CharCNN(architecture)
    with torch.no_grad():
        for name, value in [
            ("character_embedding.weight", [[0.0], [2.0], [3.0]]),
            ("convolutions.0.weight", [[[-1.0]]]),
            ("convolutions.0.bias", [0.5]),
            ("projection.weight", [[10.0]]),
            ("projection.bias", [1.0]),
        ]:
            network.get_parameter(name).copy_(torch.tensor(value))
    assert network(torch.tensor([[1, 2]])).tolist() == [[10 * 0.5 + 1]]
    with torch.no_grad():
        network.get_parameter("convolutions.0.weight").fill_(1.0)
    assert network(torch.tensor([[1, 2], [1, 0]])).tolist() == [[10 * 3.5 + 1], [10 * 2.5 + 1]]


@pytest.mark.parametrize("num_columns", [1, 2, 7, 40])
def test_more_padding_changes_nothing(num_columns: int) -> None:
    network = char_cnn()
    wider_NC = torch.nn.functional.pad(CHAR_IDS_NC, (0, num_columns))
    torch.testing.assert_close(network(wider_NC), network(CHAR_IDS_NC), rtol=0, atol=1e-6)


def test_neighbours_and_order_change_nothing() -> None:
    network = char_cnn()
    together_ND = network(CHAR_IDS_NC)
    for ids_C, vector_D in zip(CHAR_IDS_NC, together_ND, strict=True):
        without_padding_C = ids_C[: max(1, int((ids_C != 0).sum()))]
        torch.testing.assert_close(network(without_padding_C[None])[0], vector_D, rtol=0, atol=1e-6)
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    torch.testing.assert_close(network(CHAR_IDS_NC[order]), together_ND[order], rtol=0, atol=1e-6)


def test_a_token_of_padding_alone_is_exactly_zero() -> None:
    network = char_cnn()
    vectors_ND = network(CHAR_IDS_NC)
    assert vectors_ND[3].tolist() == [0.0] * 6
    assert (vectors_ND[[0, 1, 2, 4, 5]] != 0).all()
    assert network(torch.zeros(2, 3, dtype=torch.long)).tolist() == [[0.0] * 6] * 2


def test_the_padding_is_not_learned() -> None:
    network = CharCNN(ARCHITECTURE)
    table = network.character_embedding.weight
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (network(CHAR_IDS_NC) - 1).square().sum().backward()
        assert table.grad is not None
        assert table.grad[0].tolist() == [0.0] * 4
        assert table.grad[29].abs().sum() > 0
        optimizer.step()
    assert table[0].tolist() == [0.0] * 4


def test_int32_ids_are_as_good_as_int64() -> None:
    network = char_cnn()
    assert torch.equal(network(CHAR_IDS_NC.int()), network(CHAR_IDS_NC))


def test_a_new_highway_layer_carries_most_of_its_input() -> None:
    """Its gates start at sigmoid(-2) = 0.12 for an input of zeros."""
    for highway in CharCNN(ARCHITECTURE).highways:
        assert highway.get_parameter("gate.bias").tolist() == [-2.0] * 9


def test_parameters_are_those_that_the_architecture_lists() -> None:
    shapes = {f"char_cnn.{name}": tuple(t.shape) for name, t in CharCNN(ARCHITECTURE).state_dict().items()}
    listed = ARCHITECTURE.tensor_shapes()
    assert shapes == {name: shape for name, shape in listed.items() if name.startswith("char_cnn.")}

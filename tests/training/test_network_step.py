"""The step against a plain implementation of it: values, gradients, and where the gradient is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.architecture import Cell
from model.bilm import State
from tests.training.plain_step import (
    HIDDEN_DIM,
    NUM_LAYERS,
    B,
    Material,
    T,
    detached,
    largest_difference,
    parts,
    plain_gradients,
    plain_run,
    taken,
)
from training.batches import Window
from training.workspace import Workspace


@pytest.fixture(scope="module")
def material(prepared: Workspace) -> Material:
    return Material(prepared)


def assert_close_states(ours: Sequence[Sequence[State | None]], theirs: list[list[State]]) -> None:
    for direction, expected in zip(ours, theirs, strict=True):
        for state, expected_state in zip(direction, expected, strict=True):
            for part, expected_part in zip(parts(state), parts(expected_state), strict=True):
                torch.testing.assert_close(part, expected_part.detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "cutoffs", "word_dim"),
    [
        *((cell, cutoffs, 0) for cell in get_args(Cell) for cutoffs in ((), (200, 600))),
        ("lstm", (200, 600), 5),
    ],
)
def test_loss_and_gradients_are_those_of_the_plain_implementation(
    material: Material, cell: Cell, cutoffs: tuple[int, ...], word_dim: int
) -> None:
    model = material.model(cell, cutoffs, word_dim=word_dim)
    (windows,) = material.windows(1)
    result = material.step(model)(windows, 0)
    gradients = taken(model)
    plain = plain_run(model, material.characters, windows)
    assert result.num_predictions == T * B
    assert result.losses == pytest.approx([loss.item() for loss in plain.losses], rel=1e-6)
    # Untrained, it finds all pieces about equally likely.
    assert result.losses[0] / result.num_predictions == pytest.approx(
        np.log(material.corpus.vocabulary_size), rel=0.2
    )
    expected = plain_gradients(model, plain.losses, T * B)
    assert largest_difference(gradients, expected) < 2e-6


def test_gradients_are_added_to_those_already_there(material: Material) -> None:
    model = material.model()
    (windows,) = material.windows(1)
    material.step(model)(windows, 0)
    once = {name: gradient.clone() for name, gradient in taken(model).items()}
    material.step(model)(windows, 0)
    material.step(model)(windows, 0)
    twice = {name: 2 * gradient for name, gradient in once.items()}
    assert largest_difference(taken(model), twice) < 1e-6


def test_each_distinct_token_is_encoded_once(material: Material) -> None:
    model = material.model()
    encoded: list[list[int]] = []

    def note(_: nn.Module, arguments: tuple[Tensor]) -> None:
        encoded.extend([i for i in row if i] for row in arguments[0].tolist() if any(row))  # not the padding

    model.char_cnn.register_forward_pre_hook(note)
    (windows,) = material.windows(1)
    material.step(model)(windows, 0)
    distinct = np.unique([window.inputs_TB for window in windows])
    assert len(distinct) < 2 * T * B
    spelled = [[i for i in row if i] for row in material.characters.rows(distinct).tolist()]
    assert sorted(encoded) == sorted(spelled)


@pytest.mark.parametrize("cell", get_args(Cell))
def test_the_state_is_carried_and_the_gradient_is_cut_between_windows(material: Material, cell: Cell) -> None:
    """Truncated back-propagation through time, beside one run over both windows that is not truncated."""
    model = material.model(cell)
    first, second = material.windows(2)
    joined = tuple(
        Window(
            np.concatenate([a.inputs_TB, b.inputs_TB]),
            np.concatenate([a.targets_TB, b.targets_TB]),
            a.starts_B,
        )
        for a, b in zip(first, second, strict=True)
    )
    whole = plain_run(model, material.characters, (joined[0], joined[1]))
    before = plain_run(model, material.characters, first)
    after = plain_run(model, material.characters, second, detached(before.states))

    top_outputs: dict[nn.Module, list[Tensor]] = {}
    for layers in model.directions:
        layers[-1].register_forward_hook(
            lambda layer, _, output: top_outputs.setdefault(layer, []).append(output[0].detach())
        )
    network_step = material.step(model)
    first_result = network_step(first, 0)
    first_gradients = taken(model)
    second_result = network_step(second, 1)
    second_gradients = taken(model)

    # Forward, the windows' edge is not there: the same hidden values, losses and states as in one run.
    for direction, layers in enumerate(model.directions):
        below, top = (output.detach() for output in whole.outputs[direction])
        torch.testing.assert_close(torch.cat(top_outputs[layers[-1]]) + below, top, rtol=0, atol=1e-6)
        both = first_result.losses[direction] + second_result.losses[direction]
        assert both == pytest.approx(whole.losses[direction].item(), rel=1e-6)
    assert_close_states(network_step.states, whole.states)

    # Backward, the first window knows nothing of the second, and the second's gradient ends at the edge.
    assert largest_difference(first_gradients, plain_gradients(model, before.losses, T * B)) < 2e-6
    assert largest_difference(second_gradients, plain_gradients(model, after.losses, T * B)) < 2e-6
    second_losses = [both - alone for both, alone in zip(whole.losses, before.losses, strict=True)]
    untruncated = plain_gradients(model, second_losses, T * B)
    assert largest_difference(second_gradients, untruncated) > 1e-2
    assert all(
        not part.requires_grad for direction in network_step.states for s in direction for part in parts(s)
    )


@pytest.mark.parametrize("cell", get_args(Cell))
def test_rows_that_begin_anew_begin_from_zero(material: Material, cell: Cell) -> None:
    model = material.model(cell)
    first, second = material.windows(2)
    starts = (np.array([True, False, False, True]), np.array([False, True, False, False]))
    with_starts = (replace(second[0], starts_B=starts[0]), replace(second[1], starts_B=starts[1]))
    network_step = material.step(model)
    network_step(first, 0)
    network_step(with_starts, 1)

    carried = plain_run(
        model, material.characters, second, detached(plain_run(model, material.characters, first).states)
    )
    from_zero = plain_run(model, material.characters, second)
    for direction in range(2):
        begins_1B1 = torch.from_numpy(starts[direction])[None, :, None]
        for layer in range(NUM_LAYERS):
            expected = zip(
                parts(carried.states[direction][layer]),
                parts(from_zero.states[direction][layer]),
                strict=True,
            )
            for part, (kept, anew) in zip(
                parts(network_step.states[direction][layer]), expected, strict=True
            ):
                wanted = torch.where(begins_1B1, anew, kept).detach()
                torch.testing.assert_close(part, wanted, rtol=0, atol=1e-6)
                assert (kept - anew).abs().max() > 1e-3


def test_states_can_be_taken_out_and_put_back(material: Material) -> None:
    model = material.model()
    windows = material.windows(3)
    network_step = material.step(model)
    assert network_step.state_tensors() == {}
    network_step(windows[0], 0)
    network_step(windows[1], 1)
    tensors = {name: tensor.clone() for name, tensor in network_step.state_tensors().items()}
    assert sorted(tensors) == [
        f"state.{d}.{layer}.{i}" for d in range(2) for layer in range(2) for i in range(2)
    ]
    assert {tuple(tensor.shape) for tensor in tensors.values()} == {(1, B, HIDDEN_DIM)}
    resumed = material.step(model)
    resumed.load_state_tensors(tensors)
    taken(model)
    assert resumed(windows[2], 2) == network_step(windows[2], 2)
    for name, tensor in network_step.state_tensors().items():
        assert torch.equal(resumed.state_tensors()[name], tensor)
    resumed.load_state_tensors({})
    assert resumed.state_tensors() == {}


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_cells_without_a_second_state_have_one_tensor_a_layer(material: Material, cell: Cell) -> None:
    model = material.model(cell)
    first, second = material.windows(2)
    network_step, resumed = material.step(model), material.step(model)
    network_step(first, 0)
    assert sorted(network_step.state_tensors()) == [
        "state.0.0.0",
        "state.0.1.0",
        "state.1.0.0",
        "state.1.1.0",
    ]
    resumed.load_state_tensors(network_step.state_tensors())
    assert resumed(second, 1) == network_step(second, 1)

"""What the step does over many windows: dropout, learning, repeating itself to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from model.architecture import Cell
from tests.training.plain_step import (
    B,
    Material,
    T,
    largest_difference,
    plain_gradients,
    plain_run,
    taken,
)
from training import network_step
from training.network_step import LockedDropout, StepResult
from training.workspace import Workspace

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def material(prepared: Workspace) -> Material:
    return Material(prepared)


def test_dropout_keeps_one_mask_for_all_tokens_of_a_row() -> None:
    x_TBD = torch.full((5, 40, 50), 3.0)
    dropped_TBD = LockedDropout(0.25, (1, 2, 0), CPU)(x_TBD)
    assert (dropped_TBD == dropped_TBD[0]).all()
    assert set(dropped_TBD.flatten().tolist()) == {0, 4}  # 3 / (1 - 0.25)
    assert (dropped_TBD == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert len({tuple(row) for row in dropped_TBD[0].tolist()}) == 40


def test_dropout_follows_from_seed_step_and_direction() -> None:
    x_TBD = torch.ones(2, 8, 64)
    torch.manual_seed(1)
    masks = {
        seed: LockedDropout(0.5, seed, CPU)(x_TBD) for seed in [(1, 2, 0), (2, 2, 0), (1, 3, 0), (1, 2, 1)]
    }
    torch.manual_seed(2)  # torch's own generator has no part in it
    for seed, mask in masks.items():
        again = LockedDropout(0.5, seed, CPU)
        assert torch.equal(again(x_TBD), mask)
        assert not torch.equal(again(x_TBD), mask)  # the next layer's
    for other in list(masks.values())[1:]:
        assert 0.4 < (other == masks[1, 2, 0]).float().mean() < 0.6


def test_no_two_steps_rows_or_directions_of_a_run_drop_the_same(
    material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks that a step really draws, of two processes and two steps, the same in a second run."""
    model = material.model()
    windows = material.windows(2)
    masks: dict[tuple[int, ...], Tensor] = {}

    class Noted(LockedDropout):
        def __init__(self, probability: float, seed: Sequence[int], device: torch.device) -> None:
            super().__init__(probability, seed, device)
            masks[tuple(seed)] = super().__call__(torch.ones(1, B, 64))

    monkeypatch.setattr(network_step, "LockedDropout", Noted)
    runs = []
    for _ in range(2):
        masks.clear()
        losses = {}
        for first_row in (0, 4):
            run = material.step(model, dropout=0.5, first_row=first_row)
            losses[first_row] = [run(window, step).losses for step, window in enumerate(windows)]
        runs.append((losses, dict(masks)))
    (losses, drawn), (losses_again, drawn_again) = runs
    assert set(drawn) == set(product([1], [0, 4], [0, 1], [0, 1]))  # seed, first row, step, direction
    for one, other in combinations(drawn.values(), 2):
        assert 0.35 < (one == other).float().mean() < 0.65
    assert losses[0][0] != losses[4][0]
    assert losses == losses_again
    assert all(torch.equal(mask, drawn_again[seed]) for seed, mask in drawn.items())


def test_no_dropout_changes_nothing() -> None:
    x_TBD = torch.randn(2, 3, 4)
    assert LockedDropout(0.0, (1, 2, 0), CPU)(x_TBD) is x_TBD


def test_dropout_is_applied_to_every_layers_input_and_to_what_the_softmax_reads(material: Material) -> None:
    """As in the plain implementation, which draws its masks in that order."""
    model = material.model()
    (windows,) = material.windows(1)
    result = material.step(model, dropout=0.5, seed=7)(windows, 3)
    gradients = taken(model)
    dropouts = [LockedDropout(0.5, (7, 0, 3, direction), CPU) for direction in range(2)]
    plain = plain_run(model, material.characters, windows, dropouts=dropouts)
    assert result.losses == pytest.approx([loss.item() for loss in plain.losses], rel=1e-6)
    assert largest_difference(gradients, plain_gradients(model, plain.losses, T * B)) < 2e-6
    assert material.step(model, dropout=0.5, seed=7)(windows, 4).losses != result.losses
    assert material.step(model, dropout=0.5, seed=8)(windows, 3).losses != result.losses


def test_bf16_is_close_to_float32(material: Material) -> None:
    model = material.model()
    results, gradients = [], []
    for precision in (torch.float32, torch.bfloat16):
        network_step = material.step(model, precision=precision)
        results.append([network_step(windows, i) for i, windows in enumerate(material.windows(2))][1])
        gradients.append(taken(model))
    exact, rounded = results
    assert rounded.losses == pytest.approx(exact.losses, rel=5e-3)
    assert rounded.losses != exact.losses
    for name, gradient in gradients[1].items():
        assert gradient.dtype == torch.float32
        expected = gradients[0][name].flatten()
        assert torch.cosine_similarity(gradient.flatten(), expected, dim=0) > 0.99, name
        assert (gradient.norm() / expected.norm()).item() == pytest.approx(1, abs=0.05), name


@pytest.mark.parametrize("cell", get_args(Cell))
def test_a_tiny_network_learns_one_batch_by_heart(material: Material, cell: Cell) -> None:
    """From about log 1200 = 7.1 nats a token to below 0.1, in both directions, in 120 steps."""
    model = material.model(cell, hidden_dim=64)
    # Not the first windows: there all rows begin with the boundary, and what follows it cannot be known.
    windows = material.windows(3)[2]
    assert all(len(set(window.inputs_TB[0].tolist())) == B for window in windows)
    always_from_zero = (
        replace(windows[0], starts_B=np.ones(B, dtype=np.bool_)),
        replace(windows[1], starts_B=np.ones(B, dtype=np.bool_)),
    )
    network_step = material.step(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    losses = []
    for step in range(120):
        optimizer.zero_grad()
        result = network_step(always_from_zero, step)
        losses.append(max(result.losses) / result.num_predictions)
        if losses[-1] < 0.1:
            break
        optimizer.step()
    assert 6.5 < losses[0] < 9
    assert losses[-1] < 0.1


def train(
    material: Material, precision: torch.dtype, seed: int
) -> tuple[list[StepResult], list[torch.Tensor]]:
    """Return the results of 20 steps, with everything that training has in it, and the weights after them."""
    model = material.model()
    network_step = material.step(model, dropout=0.2, precision=precision, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
    results = []
    for step, windows in enumerate(material.windows(20, reset_probability=0.3)):
        optimizer.zero_grad()
        results.append(network_step(windows, step))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return results, [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_losses_to_the_last_bit(
    material: Material, precision: torch.dtype
) -> None:
    results, weights = train(material, precision, seed=5)
    for _ in range(2):
        results_again, weights_again = train(material, precision, seed=5)
        assert results_again == results
        assert all(torch.equal(a, b) for a, b in zip(weights_again, weights, strict=True))
    assert train(material, precision, seed=6)[0] != results
    assert sum(results[-1].losses) < sum(results[0].losses)


def test_no_weight_cast_to_bf16_is_shared_between_threads(material: Material) -> None:
    """With torch's cache of them, sums would depend on which thread is faster; too seldom to wait for it."""
    model = material.model()
    caches: list[bool] = []
    for module in (model.char_cnn, *model.forward_layers, *model.backward_layers):
        module.register_forward_pre_hook(lambda *_: caches.append(torch.is_autocast_cache_enabled()))
    material.step(model, precision=torch.bfloat16)(material.windows(1)[0], 0)
    assert len(caches) == 5
    assert not any(caches)


def test_threads_are_left_as_they_were(material: Material) -> None:
    torch.set_num_threads(3)
    material.step(material.model())(material.windows(1)[0], 0)
    assert torch.get_num_threads() == 3

"""A sentence read in slices gives what it gives as a whole, whatever the slices' size and its neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from model.architecture import Cell
from model.runtime import Floats, Runtime
from model.scalar_mix import mix
from tests.model.plain_network import PlainNetwork, random_tensors
from tests.model.small_bundles import architecture, write_small_bundle

TOLERANCE = 1e-5
LENGTHS = [23, 5, 1, 12, 23]


def read_in_slices(runtime: Runtime, sentences: list[Floats], longest: int) -> list[Floats]:
    """Return the layers (L, T, 2H) of each sentence (T, D). Each has its own place and its own state; those
    that have ended leave the batch."""
    state = runtime.first_state(len(sentences))
    num_layers = state.shape[1] + 1
    layers = [np.full((num_layers, len(x_TD), 40), np.nan, dtype=np.float32) for x_TD in sentences]
    rows = list(range(len(sentences)))
    num_read = 0
    while rows:
        lengths = [min(longest, len(sentences[i]) - num_read) for i in rows]
        forward, backward = np.full((2, max(lengths), len(rows), 20), np.nan, dtype=np.float32)
        for b, (i, length) in enumerate(zip(rows, lengths, strict=True)):
            end = len(sentences[i]) - num_read
            forward[:length, b] = sentences[i][num_read : num_read + length]
            backward[:length, b] = sentences[i][end - length : end]
        found, state = runtime.layer_slices(forward, backward, np.array(lengths, dtype=np.int32), state)
        for b, (i, length) in enumerate(zip(rows, lengths, strict=True)):
            end = len(sentences[i]) - num_read
            layers[i][:, num_read : num_read + length, :20] = found[:, :length, b, :20]
            layers[i][:, end - length : end, 20:] = found[:, :length, b, 20:]
            np.testing.assert_array_equal(found[:, length:, b], 0)
        num_read += longest
        left = [b for b, i in enumerate(rows) if len(sentences[i]) > num_read]
        rows, state = [rows[b] for b in left], np.ascontiguousarray(state[..., left, :])
    return layers


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", get_args(Cell))
def test_slices_are_the_whole(tmp_path: Path, cell: Cell, num_layers: int) -> None:
    small = architecture(cell, num_layers)
    tensors = random_tensors(small)
    network = PlainNetwork(small, tensors)
    runtime = Runtime(write_small_bundle(tmp_path / "small", small, tensors), num_threads=1)
    generator = np.random.default_rng(13)
    sentences = [generator.standard_normal((length, 20)).astype(np.float32) for length in LENGTHS]
    expected = [network.layers(x_TD.astype(np.float64)) for x_TD in sentences]
    for longest in (1, 2, 3, 7, 12, 22, 23, 50):
        for found, reference in zip(read_in_slices(runtime, sentences, longest), expected, strict=True):
            np.testing.assert_allclose(found, reference, rtol=0, atol=TOLERANCE)


def test_each_half_is_of_its_own_place(tmp_path: Path) -> None:
    """The forward half of one slice and the backward half of another: layer 0 shows which is which."""
    small = architecture()
    runtime = Runtime(write_small_bundle(tmp_path / "small", small, random_tensors(small)), num_threads=1)
    forward, backward = np.random.default_rng(1).standard_normal((2, 6, 2, 20)).astype(np.float32)
    lengths_B, state = np.array([6, 4], dtype=np.int32), runtime.first_state(2)
    layers_LTBD, after = runtime.layer_slices(forward, backward, lengths_B, state)
    np.testing.assert_array_equal(layers_LTBD[0, :, 0, :20], forward[:, 0])
    np.testing.assert_array_equal(layers_LTBD[0, :4, 1, 20:], backward[:4, 1])

    weights_BL = np.array([[0.25, -1, 2], [1, 1, 1]], dtype=np.float32)
    gamma_B = np.array([1.5, 0.5], dtype=np.float32)
    mixed_TBD, same = runtime.mix_slices(forward, backward, lengths_B, state, weights_BL, gamma_B)
    for b in range(2):
        expected = mix(layers_LTBD[:, :, b], weights_BL[b], float(gamma_B[b]))
        np.testing.assert_allclose(mixed_TBD[:, b], expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(after, same)


def test_the_state_is_the_last_output_of_each_direction(tmp_path: Path) -> None:
    """h lies first: of layer 1 it is the layer's output, at the right end forward, at the left backward."""
    small = architecture()
    runtime = Runtime(write_small_bundle(tmp_path / "small", small, random_tensors(small)), num_threads=1)
    x_TBD = np.random.default_rng(2).standard_normal((6, 2, 20)).astype(np.float32)
    lengths_B = np.array([6, 4], dtype=np.int32)
    layers_LTBD, state = runtime.layer_slices(x_TBD, x_TBD, lengths_B, runtime.first_state(2))
    assert state.shape == (2, 2, 2, 2, 20)
    for b, length in enumerate(lengths_B):
        np.testing.assert_array_equal(state[0, 0, 0, b], layers_LTBD[1, length - 1, b, :20])
        np.testing.assert_array_equal(state[0, 0, 1, b], layers_LTBD[1, 0, b, 20:])

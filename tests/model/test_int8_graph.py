"""The context encoder of 8-bit integers: near the one of float32, and neighbours change nothing in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from model.architecture import Architecture
from model.context_graph import build_context_encoder
from model.files import WEIGHTS_FILE
from model.int8_graph import build_int8_context_encoder
from model.weights import read_header
from tests.model.plain_network import random_tensors
from tests.model.small_bundles import architecture, bundle_files

Feeds = dict[str, npt.NDArray[Any]]

LENGTHS = [9, 1, 40, 9, 23, 2]


class Encoders:
    """Both encoders of one network, and the ranges that one was built for."""

    def __init__(self, folder: Path, architecture: Architecture) -> None:
        self.architecture = architecture
        self.ranges_D = np.linspace(0.5, 9, architecture.hidden_dim, dtype=np.float32)
        weights = bundle_files(architecture, random_tensors(architecture))[WEIGHTS_FILE]
        assert isinstance(weights, bytes)
        (folder / WEIGHTS_FILE).write_bytes(weights)
        tensors = read_header(weights)
        graphs = {
            "float32": build_context_encoder(architecture, tensors),
            "int8": build_int8_context_encoder(architecture, tensors, self.ranges_D),
        }
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 2
        self._sessions = {}
        for name, graph in graphs.items():
            path = folder / f"{name}.onnx"
            path.write_bytes(graph.SerializeToString())
            self._sessions[name] = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )

    def sentences(self, lengths: Sequence[int], share: float = 1.0) -> list[npt.NDArray[np.float32]]:
        """Random token vectors within a share of the ranges."""
        rng = np.random.default_rng(7)
        return [
            share * self.ranges_D * rng.uniform(-1, 1, (length, len(self.ranges_D))).astype(np.float32)
            for length in lengths
        ]

    def first_state(self, num_sentences: int) -> npt.NDArray[np.float32]:
        *parts, hidden_dim = self.architecture.state_shape
        return np.zeros((*parts, num_sentences, hidden_dim), dtype=np.float32)

    def run(
        self,
        name: str,
        forward: Sequence[npt.NDArray[np.float32]],
        backward: Sequence[npt.NDArray[np.float32]] | None = None,
        state: npt.NDArray[np.float32] | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return layers (L, T, B, 2H) and the final state."""
        lengths_B = np.array([len(x) for x in forward], dtype=np.int32)
        num_sentences = len(forward)
        num_layers = self.architecture.num_vector_layers
        feeds = {
            "forward_vectors": _padded(forward),
            "backward_vectors": _padded(backward or forward),
            "lengths": lengths_B,
            "initial_state": self.first_state(num_sentences) if state is None else state,
            "layer_weights": np.zeros((num_sentences, num_layers), dtype=np.float32),
            "gamma": np.zeros(num_sentences, dtype=np.float32),
            "with_layers": np.array(True),
        }
        layers, final_state = self._sessions[name].run(["layers", "final_state"], feeds)
        return layers, final_state


def _padded(sentences: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    x_TBD = np.zeros((max(map(len, sentences)), len(sentences), sentences[0].shape[1]), dtype=np.float32)
    for b, x_TD in enumerate(sentences):
        x_TBD[: len(x_TD), b] = x_TD
    return x_TBD


def relative_error(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.fixture(params=[1, 2, 3], ids=lambda num_layers: f"{num_layers} layers")
def encoders(request: pytest.FixtureRequest, tmp_path: Path) -> Encoders:
    return Encoders(tmp_path, architecture(num_layers=request.param))


def test_vectors_are_near_those_of_float32(encoders: Encoders) -> None:
    sentences = encoders.sentences(LENGTHS)
    found, found_state = encoders.run("int8", sentences)
    expected, expected_state = encoders.run("float32", sentences)
    np.testing.assert_array_equal(found[0], expected[0])
    assert 1e-5 < relative_error(found[1:], expected[1:]) < 0.03
    assert 1e-5 < relative_error(found_state, expected_state) < 0.03


def test_vectors_are_zero_beyond_a_sentence(encoders: Encoders) -> None:
    layers, _ = encoders.run("int8", encoders.sentences(LENGTHS))
    for b, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(layers[:, length:, b], 0)
        assert (np.abs(layers[:, :length, b]).max(axis=-1) > 0).all()


def test_neighbours_change_nothing(encoders: Encoders) -> None:
    """A neighbour a hundred times as large too: with ranges found in the batch it would."""
    quiet, loud = encoders.sentences(LENGTHS, share=0.01), encoders.sentences(LENGTHS[::-1])
    together, states = encoders.run("int8", [*quiet, *loud])
    for b, (x_TD, length) in enumerate(zip(quiet, LENGTHS, strict=True)):
        alone, state = encoders.run("int8", [x_TD])
        np.testing.assert_array_equal(together[:, :length, b], alone[:, :, 0])
        np.testing.assert_array_equal(states[..., b, :], state[..., 0, :])


@pytest.mark.parametrize("size", [1, 7, 39])
def test_slices_give_the_whole_sentence(encoders: Encoders, size: int) -> None:
    (x_TD,) = encoders.sentences([40])
    expected, _ = encoders.run("int8", [x_TD])
    found = np.zeros_like(expected[:, :, 0])
    half = found.shape[-1] // 2
    state = encoders.first_state(1)
    for start in range(0, 40, size):
        end = min(start + size, 40)
        layers, state = encoders.run("int8", [x_TD[start:end]], [x_TD[40 - end : 40 - start]], state)
        found[:, start:end, :half] = layers[:, :, 0, :half]
        found[:, 40 - end : 40 - start, half:] = layers[:, :, 0, half:]
    np.testing.assert_array_equal(found, expected[:, :, 0])


def test_a_value_beyond_its_range_counts_as_the_end_of_the_range(encoders: Encoders) -> None:
    (x_TD,) = encoders.sentences([9])
    x_TD[4, 3], x_TD[6, 0] = 2 * encoders.ranges_D[3], -50
    clipped_TD = np.clip(x_TD, -encoders.ranges_D, encoders.ranges_D)
    found, _ = encoders.run("int8", [x_TD])
    expected, _ = encoders.run("int8", [clipped_TD])
    np.testing.assert_array_equal(found[1:], expected[1:])


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_other_cells_are_refused(tmp_path: Path, cell: str) -> None:
    other = architecture(cell=cell)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^cell: expected lstm, which can be quantised, got {cell}$"):
        Encoders(tmp_path, other)


@pytest.mark.parametrize("changes", [{"cell_clip": 3.0}, {"cell_dim": 30}, {"residual": False}])
def test_lstms_of_imported_models_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    message = r"^cell: expected an LSTM without projection or clips and with residual connections, which "
    with pytest.raises(ValueError, match=message):
        Encoders(tmp_path, replace(architecture(), **changes))

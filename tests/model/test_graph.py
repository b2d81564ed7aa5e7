"""The ONNX graphs in onnxruntime against the plain numpy network, and what is in their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from model.architecture import Architecture, Cell
from model.graph import build_graphs
from model.weights import read_header
from tests.model.plain_network import PlainNetwork, random_tensors
from tests.model.small_bundles import architecture, bundle_files

TOLERANCE = 1e-5
GRAPHS = ("token_encoder", "context_encoder", "lm_heads")


def write_graphs(
    folder: Path, architecture: Architecture, dtype: type[np.floating] = np.float32
) -> PlainNetwork:
    """Write weights and graphs, and return the same network in numpy."""
    tensors = random_tensors(architecture, dtype=dtype)
    for name, content in bundle_files(architecture, tensors).items():
        assert isinstance(content, bytes)
        (folder / name).write_bytes(content)
    return PlainNetwork(architecture, tensors)


def run(folder: Path, graph: str, output: str, **feeds: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    session = onnxruntime.InferenceSession(folder / f"{graph}.onnx", providers=["CPUExecutionProvider"])
    (result,) = session.run([output], feeds)
    assert result.dtype == np.float32
    return np.asarray(result)


def padded(rows: Sequence[Sequence[int]], num_characters: int) -> npt.NDArray[np.int32]:
    return np.array([[*row, *[0] * (num_characters - len(row))] for row in rows], dtype=np.int32)


def random_tokens(num_tokens: int, longest: int, seed: int = 3) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 30, generator.integers(1, longest + 1)).tolist() for _ in range(num_tokens)]


@pytest.mark.parametrize("num_highways", [0, 1, 2])
@pytest.mark.parametrize(("num_tokens", "longest"), [(1, 1), (1, 9), (7, 3), (64, 12)])
def test_token_vectors(tmp_path: Path, num_highways: int, num_tokens: int, longest: int) -> None:
    network = write_graphs(tmp_path, architecture(num_highways=num_highways))
    tokens = random_tokens(num_tokens, longest)
    expected = np.stack([network.token_vector(token) for token in tokens])
    # As few columns as fit, and many more.
    for num_characters in (max(map(len, tokens)), longest + 17):
        vectors = run(tmp_path, "token_encoder", "token_vectors", char_ids=padded(tokens, num_characters))
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=TOLERANCE)


def test_a_row_of_padding_gives_exactly_zero(tmp_path: Path) -> None:
    network = write_graphs(tmp_path, architecture())
    vectors = run(tmp_path, "token_encoder", "token_vectors", char_ids=padded([[4, 5], [], [6]], 3))
    np.testing.assert_array_equal(vectors[1], 0)
    np.testing.assert_allclose(vectors[2], network.token_vector([6]), rtol=0, atol=TOLERANCE)


LENGTHS = {
    "one token": [1],
    "one sentence": [9],
    "odd": [7, 1, 4, 7, 2],
    "larger": [33, 12, 40, 1, 25, 8, 40, 19],
}


def context_feeds(architecture: Architecture, lengths: Sequence[int]) -> dict[str, npt.NDArray[Any]]:
    """Whole sentences, each with its own layer weights and gamma. Beyond each sentence: NaN."""
    generator = np.random.default_rng(5)
    x_TBD = generator.standard_normal((max(lengths), len(lengths), architecture.hidden_dim))
    for b, length in enumerate(lengths):
        x_TBD[length:, b] = np.nan
    *parts, hidden_dim = architecture.state_shape
    return {
        "forward_vectors": x_TBD.astype(np.float32),
        "backward_vectors": x_TBD.astype(np.float32),
        "lengths": np.array(lengths, dtype=np.int32),
        "initial_state": np.zeros((*parts, len(lengths), hidden_dim), dtype=np.float32),
        "layer_weights": generator.standard_normal((len(lengths), architecture.num_vector_layers)).astype(
            "f4"
        ),
        "gamma": generator.uniform(0.5, 2, len(lengths)).astype(np.float32),
    }


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", get_args(Cell))
def test_context(tmp_path: Path, cell: Cell, num_layers: int, lengths: list[int]) -> None:
    small = architecture(cell, num_layers)
    network = write_graphs(tmp_path, small)
    feeds = context_feeds(small, lengths)
    layers_LTBD = np.zeros((num_layers + 1, max(lengths), len(lengths), 40))
    for b, length in enumerate(lengths):
        layers_LTBD[:, :length, b] = network.layers(feeds["forward_vectors"][:length, b].astype(np.float64))
    mixed_TBD = np.einsum("b,bl,ltbd->tbd", feeds["gamma"], feeds["layer_weights"], layers_LTBD)

    layers = run(tmp_path, "context_encoder", "layers", **feeds, with_layers=np.array(True))
    np.testing.assert_allclose(layers, layers_LTBD, rtol=0, atol=TOLERANCE)
    for with_layers in (True, False):
        mixed = run(tmp_path, "context_encoder", "mixed", **feeds, with_layers=np.array(with_layers))
        np.testing.assert_allclose(mixed, mixed_TBD, rtol=0, atol=TOLERANCE)
    for b, length in enumerate(lengths):
        np.testing.assert_array_equal(layers[:, length:, b], 0)
        np.testing.assert_array_equal(mixed[length:, b], 0)


def test_context_of_a_large_layer(tmp_path: Path) -> None:
    """onnxruntime takes other ways for more than 256 hidden units, with at most 4 sentences and with more."""
    large = architecture(hidden_dim=300)
    network = write_graphs(tmp_path, large)
    for lengths in ([6], [6, 3, 5], [2, 6, 4, 6, 1, 3, 5]):
        feeds = context_feeds(large, lengths)
        layers = run(tmp_path, "context_encoder", "layers", **feeds, with_layers=np.array(True))
        for b, length in enumerate(lengths):
            expected = network.layers(feeds["forward_vectors"][:length, b].astype(np.float64))
            np.testing.assert_allclose(layers[:, :length, b], expected, rtol=0, atol=TOLERANCE)


def test_layers_have_no_element_when_not_asked_for(tmp_path: Path) -> None:
    small = architecture()
    write_graphs(tmp_path, small)
    layers = run(
        tmp_path, "context_encoder", "layers", **context_feeds(small, [3, 2]), with_layers=np.array(False)
    )
    assert layers.shape == (3, 0, 0, 40)


@pytest.mark.parametrize("cutoffs", [(), (8,), (8, 20), (10, 20, 49)], ids=str)
@pytest.mark.parametrize("num_rows", [1, 7, 64])
def test_log_probabilities(tmp_path: Path, cutoffs: tuple[int, ...], num_rows: int) -> None:
    network = write_graphs(tmp_path, architecture(adaptive_cutoffs=cutoffs))
    hidden_NH = np.random.default_rng(7).standard_normal((num_rows, 20)).astype(np.float32)
    log_probabilities = run(tmp_path, "lm_heads", "log_probabilities", hidden=hidden_NH)
    expected = np.stack([network.log_probabilities(row.astype(np.float64)) for row in hidden_NH])
    np.testing.assert_allclose(log_probabilities, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.exp(log_probabilities).sum(axis=1), 1, rtol=0, atol=1e-5)


def test_float16_weights_give_what_their_float32_values_give(tmp_path: Path) -> None:
    small = architecture()
    rounded = random_tensors(small, dtype=np.float16)
    widened = {name: tensor.astype(np.float32) for name, tensor in rounded.items()}
    feeds = {
        "token_encoder": {"char_ids": padded(random_tokens(7, 9), 9)},
        "context_encoder": context_feeds(small, [5, 3, 4]) | {"with_layers": np.array(False)},
        "lm_heads": {"hidden": np.ones((3, 20), dtype=np.float32)},
    }
    outputs = {"token_encoder": "token_vectors", "context_encoder": "mixed", "lm_heads": "log_probabilities"}
    results = []
    for folder, tensors in ((tmp_path / "16", rounded), (tmp_path / "32", widened)):
        folder.mkdir()
        for name, content in bundle_files(small, tensors).items():
            assert isinstance(content, bytes)
            (folder / name).write_bytes(content)
        results.append([run(folder, graph, outputs[graph], **feeds[graph]) for graph in GRAPHS])
    for from_16, from_32 in zip(*results, strict=True):
        np.testing.assert_array_equal(from_16, from_32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_graph_holds_no_weight(tmp_path: Path, dtype: type[np.floating]) -> None:
    """What it holds itself are sizes and positions; all else is a place in the weights file, which is all
    used."""
    network = write_graphs(tmp_path, architecture(), dtype)
    weights = (tmp_path / "weights.safetensors").read_bytes()
    used = set()
    for graph in GRAPHS:
        file = tmp_path / f"{graph}.onnx"
        assert file.stat().st_size < 20_000
        for tensor in onnx.load(file, load_external_data=False).graph.initializer:
            if not tensor.external_data:
                assert np.prod(tensor.dims) <= 8
                continue
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert place["location"] == "weights.safetensors"
            start = int(place["offset"])
            values = np.frombuffer(weights[start : start + int(place["length"])], dtype=dtype)
            np.testing.assert_array_equal(values, network.tensors[tensor.name].ravel())
            used.add(tensor.name)
    assert used == network.tensors.keys()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("cell", get_args(Cell))
def test_nothing_is_done_to_a_weight_at_run_time(
    tmp_path: Path, cell: Cell, dtype: type[np.floating]
) -> None:
    """After onnxruntime's own optimisation no node works on constants alone, so all of them were folded."""
    write_graphs(tmp_path, architecture(cell), dtype)
    for graph in GRAPHS:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / f"{graph}.optimized.onnx")
        onnxruntime.InferenceSession(tmp_path / f"{graph}.onnx", options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath).graph
        constants = {tensor.name for tensor in optimized.initializer}
        on_constants = [
            node.name for node in optimized.node if node.input and constants.issuperset(node.input)
        ]
        assert on_constants == []
        if graph == "context_encoder":
            recurrent = [node for node in optimized.node if node.op_type == cell.upper()]
            assert len(recurrent) == 4
            assert constants.issuperset(name for node in recurrent for name in node.input[1:4])


def test_the_same_network_gives_the_same_files() -> None:
    small = architecture()
    first, second = (bundle_files(small, random_tensors(small)) for _ in range(2))
    assert first == second


def test_graphs_pass_the_checker(tmp_path: Path) -> None:
    write_graphs(tmp_path, architecture("gru"))
    for graph in GRAPHS:
        onnx.checker.check_model(str(tmp_path / f"{graph}.onnx"), full_check=True)


def test_build_graphs_names_the_files_of_a_bundle(tmp_path: Path) -> None:
    small = architecture()
    write_graphs(tmp_path, small)
    graphs = build_graphs(small, read_header(tmp_path / "weights.safetensors"))
    assert list(graphs) == [f"{graph}.onnx" for graph in GRAPHS]

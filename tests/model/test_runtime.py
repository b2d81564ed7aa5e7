from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from model.bundle import BundleError, write_bundle
from model.files import WEIGHTS_FILE
from model.graph import build_graphs
from model.runtime import Floats, Integers, Runtime
from model.scalar_mix import mix
from model.weights import read_header
from tests.model.plain_network import PlainNetwork, random_tensors
from tests.model.small_bundles import architecture, bundle_files, manifest, write_small_bundle

TOLERANCE = 1e-5
SMALL = architecture()
TENSORS = random_tensors(SMALL)
NETWORK = PlainNetwork(SMALL, TENSORS)
# So many, and so different, that `layers` runs them in several groups.
LENGTHS = np.array([40, 3, 17, 3, 29, 1, 8, 40, 12, 5, 33, 3, 21], dtype=np.int32)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("runtime") / "small"
    return Runtime(write_small_bundle(folder, SMALL, TENSORS), num_threads=2)


class Batch:
    """Sentences of LENGTHS, in any order, each with its own mix."""

    def __init__(self, order: npt.NDArray[np.intp] | None = None) -> None:
        generator = np.random.default_rng(11)
        order = np.arange(len(LENGTHS)) if order is None else order
        self.x_TBD = generator.standard_normal((40, len(LENGTHS), 20)).astype(np.float32)[:, order]
        self.lengths_B = LENGTHS[order]
        self.layer_weights_BL = generator.standard_normal((len(LENGTHS), 3)).astype(np.float32)[order]
        self.gamma_B = generator.uniform(0.5, 2, len(LENGTHS)).astype(np.float32)[order]

    def mixed(self, runtime: Runtime) -> Floats:
        return mixed(runtime, self.x_TBD, self.lengths_B, self.layer_weights_BL, self.gamma_B)


def mixed(
    runtime: Runtime, x_TBD: Floats, lengths_B: Integers, layer_weights_BL: Floats, gamma_B: Floats
) -> Floats:
    """Return the mix of whole sentences."""
    state = runtime.first_state(len(lengths_B))
    vectors, _ = runtime.mix_slices(x_TBD, x_TBD, lengths_B, state, layer_weights_BL, gamma_B)
    return vectors


def test_token_vectors(runtime: Runtime) -> None:
    char_ids_NC = np.array([[4, 5, 6], [7, 0, 0], [0, 0, 0], [8, 9, 0]], dtype=np.int32)
    vectors_ND = runtime.token_vectors(char_ids_NC)
    expected = np.stack([NETWORK.token_vector([i for i in row if i]) for row in char_ids_NC.tolist()])
    assert vectors_ND.dtype == np.float32
    np.testing.assert_allclose(vectors_ND, expected, rtol=0, atol=TOLERANCE)


def test_token_vectors_in_several_runs(runtime: Runtime) -> None:
    """A very long token among many short ones: what each gives does not depend on the others."""
    generator = np.random.default_rng(2)
    tokens = [generator.integers(1, 30, length).tolist() for length in generator.integers(1, 12, 900)]
    tokens[450] = generator.integers(1, 30, 9000).tolist()
    char_ids_NC = np.zeros((len(tokens), 9000), dtype=np.int32)
    for n, token in enumerate(tokens):
        char_ids_NC[n, : len(token)] = token
    vectors_ND = runtime.token_vectors(char_ids_NC)
    for n in (0, 1, 449, 450, 451, 899):
        np.testing.assert_allclose(vectors_ND[n], NETWORK.token_vector(tokens[n]), rtol=0, atol=TOLERANCE)
        alone = runtime.token_vectors(char_ids_NC[n : n + 1, : len(tokens[n])])
        np.testing.assert_allclose(vectors_ND[n], alone[0], rtol=0, atol=TOLERANCE)


def test_layers_of_a_batch(runtime: Runtime) -> None:
    batch = Batch()
    layers_LTBD = runtime.layers(batch.x_TBD, batch.lengths_B)
    assert layers_LTBD.shape == (3, 40, len(LENGTHS), 40)
    assert layers_LTBD.dtype == np.float32
    for b, length in enumerate(LENGTHS):
        np.testing.assert_array_equal(layers_LTBD[:, length:, b], 0)
        expected = NETWORK.layers(batch.x_TBD[:length, b].astype(np.float64))
        np.testing.assert_allclose(layers_LTBD[:, :length, b], expected, rtol=0, atol=TOLERANCE)


def test_layers_of_slices_are_those_of_sentences(runtime: Runtime) -> None:
    """Not in groups, but a sentence's vectors do not depend on that."""
    batch = Batch()
    state = runtime.first_state(len(LENGTHS))
    layers_LTBD, _ = runtime.layer_slices(batch.x_TBD, batch.x_TBD, batch.lengths_B, state)
    expected = runtime.layers(batch.x_TBD, batch.lengths_B)
    np.testing.assert_allclose(layers_LTBD, expected, rtol=0, atol=TOLERANCE)


def test_every_sentence_has_its_own_mix(runtime: Runtime) -> None:
    batch = Batch()
    layers_LTBD = runtime.layers(batch.x_TBD, batch.lengths_B)
    mixed_TBD = batch.mixed(runtime)
    assert mixed_TBD.shape == (40, len(LENGTHS), 40)
    for b in range(len(LENGTHS)):
        expected = mix(layers_LTBD[:, :, b], batch.layer_weights_BL[b], float(batch.gamma_B[b]))
        np.testing.assert_allclose(mixed_TBD[:, b], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(3))
def test_order_and_neighbours_change_nothing(runtime: Runtime, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(LENGTHS))
    batch = Batch(order)
    mixed_TBD = batch.mixed(runtime)
    np.testing.assert_allclose(mixed_TBD, Batch().mixed(runtime)[:, order], rtol=0, atol=TOLERANCE)
    for b, length in enumerate(batch.lengths_B):
        alone = mixed(
            runtime,
            batch.x_TBD[:length, b : b + 1],
            batch.lengths_B[b : b + 1],
            batch.layer_weights_BL[b : b + 1],
            batch.gamma_B[b : b + 1],
        )
        np.testing.assert_allclose(mixed_TBD[:length, b], alone[:, 0], rtol=0, atol=TOLERANCE)


def test_what_lies_beyond_a_sentence_changes_nothing(runtime: Runtime) -> None:
    batch = Batch()
    expected = batch.mixed(runtime)
    for b, length in enumerate(LENGTHS):
        batch.x_TBD[length:, b] = np.nan
    np.testing.assert_array_equal(batch.mixed(runtime), expected)


def test_log_probabilities(runtime: Runtime) -> None:
    hidden_NH = np.random.default_rng(4).standard_normal((9, 40)).astype(np.float32)[:, 20:]
    log_probabilities_NV = runtime.log_probabilities(hidden_NH)
    expected = np.stack([NETWORK.log_probabilities(row.astype(np.float64)) for row in hidden_NH])
    assert log_probabilities_NV.dtype == np.float32
    np.testing.assert_allclose(log_probabilities_NV, expected, rtol=0, atol=TOLERANCE)


def test_nothing_gives_nothing(runtime: Runtime) -> None:
    no_lengths = np.zeros(0, dtype=np.int32)
    nothing = np.zeros((7, 0, 20), dtype=np.float32)
    assert runtime.token_vectors(np.zeros((0, 5), dtype=np.int32)).shape == (0, 20)
    np.testing.assert_array_equal(runtime.token_vectors(np.zeros((2, 0), dtype=np.int32)), np.zeros((2, 20)))
    assert runtime.layers(nothing, no_lengths).shape == (3, 7, 0, 40)
    assert mixed(runtime, nothing, no_lengths, nothing[0, :, :3], nothing[0, :, 0]).shape == (7, 0, 40)
    vectors, state = runtime.layer_slices(nothing, nothing, no_lengths, runtime.first_state(0))
    assert (vectors.shape, state.shape) == ((3, 7, 0, 40), (2, 2, 2, 0, 20))
    empty_sentences = np.zeros(2, dtype=np.int32)
    layers_LTBD = runtime.layers(np.ones((3, 2, 20), dtype=np.float32), empty_sentences)
    np.testing.assert_array_equal(layers_LTBD, np.zeros((3, 3, 2, 40)))
    assert runtime.log_probabilities(np.zeros((0, 20), dtype=np.float32)).shape == (0, 50)


def test_several_threads_at_once(runtime: Runtime) -> None:
    batches = [Batch(np.random.default_rng(seed).permutation(len(LENGTHS))) for seed in range(24)]
    expected = [batch.mixed(runtime) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda batch: batch.mixed(runtime), batches))
    for result, reference in zip(found, expected, strict=True):
        np.testing.assert_array_equal(result, reference)


def test_the_number_of_threads_changes_nothing(runtime: Runtime, tmp_path: Path) -> None:
    alone = Runtime(write_small_bundle(tmp_path / "small", SMALL, TENSORS), num_threads=1)
    np.testing.assert_allclose(Batch().mixed(alone), Batch().mixed(runtime), rtol=0, atol=TOLERANCE)


def test_wrong_characters_are_refused(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match=r"^char_ids_NC: expected int32 \(N, C\), got int64 \(2, 2\)$"):
        runtime.token_vectors(np.ones((2, 2), dtype=np.int64))
    with pytest.raises(ValueError, match=r"^char_ids_NC: expected int32 \(N, C\), got int32 \(2,\)$"):
        runtime.token_vectors(np.ones(2, dtype=np.int32))
    with pytest.raises(ValueError, match=r"^char_ids_NC: expected values from 0 to 29, got 30$"):
        runtime.token_vectors(np.array([[1, 30]], dtype=np.int32))
    with pytest.raises(ValueError, match=r"^char_ids_NC: expected values from 0 to 29, got -1$"):
        runtime.token_vectors(np.array([[1, -1]], dtype=np.int32))


def test_wrong_sentences_are_refused(runtime: Runtime) -> None:
    x_TBD = np.zeros((4, 2, 20), dtype=np.float32)
    lengths_B = np.array([4, 2], dtype=np.int32)
    expected = r"^forward_TBD: expected float32 \(T, B, 20\), got "
    with pytest.raises(ValueError, match=expected + r"float32 \(4, 2, 19\)$"):
        runtime.layers(x_TBD[:, :, :19], lengths_B)
    with pytest.raises(ValueError, match=expected + r"float64 \(4, 2, 20\)$"):
        runtime.layers(x_TBD.astype(np.float64), lengths_B)
    with pytest.raises(ValueError, match=r"^lengths_B: expected int32 \(2\), got int32 \(1,\)$"):
        runtime.layers(x_TBD, lengths_B[:1])
    with pytest.raises(ValueError, match=r"^lengths_B: expected values from 0 to 4, got 5$"):
        runtime.layers(x_TBD, lengths_B + np.int32(1))
    with pytest.raises(
        ValueError, match=r"^hidden_NH: expected float32 \(N, 20\), got float32 \(4, 2, 20\)$"
    ):
        runtime.log_probabilities(x_TBD)


def test_wrong_slices_are_refused(runtime: Runtime) -> None:
    x_TBD = np.zeros((4, 2, 20), dtype=np.float32)
    lengths_B = np.array([4, 2], dtype=np.int32)
    weights_BL, gamma_B = np.ones((2, 3), dtype=np.float32), np.ones(2, dtype=np.float32)
    state = runtime.first_state(2)
    expected = r"^backward_TBD: expected float32 \(4, 2, 20\), got float32 \(3, 2, 20\)$"
    with pytest.raises(ValueError, match=expected):
        runtime.layer_slices(x_TBD, x_TBD[1:], lengths_B, state)
    with pytest.raises(ValueError, match=r"^lengths_B: expected values from 1 to 4, got 0$"):
        runtime.layer_slices(x_TBD, x_TBD, lengths_B - np.int32(2), state)
    expected = r"^state_SR2BH: expected float32 \(2, 2, 2, 2, 20\), got float32 \(2, 2, 2, 1, 20\)$"
    with pytest.raises(ValueError, match=expected):
        runtime.mix_slices(x_TBD, x_TBD, lengths_B, runtime.first_state(1), weights_BL, gamma_B)
    expected = r"^layer_weights_BL: expected float32 \(2, 3\), got float32 \(2, 2\)$"
    with pytest.raises(ValueError, match=expected):
        runtime.mix_slices(x_TBD, x_TBD, lengths_B, state, weights_BL[:, :2], gamma_B)
    with pytest.raises(ValueError, match=r"^gamma_B: expected float32 \(2\), got float32 \(2, 3\)$"):
        runtime.mix_slices(x_TBD, x_TBD, lengths_B, state, weights_BL, weights_BL)


def test_a_graph_that_onnxruntime_cannot_read(tmp_path: Path) -> None:
    """Its hash is right: it was written so."""
    files = bundle_files(SMALL, TENSORS) | {"lm_heads.onnx": b"no graph"}
    bundle = write_bundle(tmp_path / "small", manifest(SMALL), files)
    with pytest.raises(BundleError, match=r"lm_heads\.onnx: expected a graph that onnxruntime can run: "):
        Runtime(bundle, num_threads=1)


def test_no_threads(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small", SMALL, TENSORS)
    with pytest.raises(ValueError, match=r"^num_threads: expected at least 1, got 0$"):
        Runtime(bundle, num_threads=0)


def test_int8_is_another_graph_of_the_same_weights(tmp_path: Path) -> None:
    files = bundle_files(SMALL, TENSORS)
    weights = files[WEIGHTS_FILE]
    assert isinstance(weights, bytes)
    files |= build_graphs(SMALL, read_header(weights), np.full(20, 4, dtype=np.float32))
    bundle = write_bundle(tmp_path / "int8", manifest(SMALL), files)
    x_TBD = np.random.default_rng(0).uniform(-4, 4, (9, 3, 20)).astype(np.float32)
    lengths_B = np.array([9, 4, 1], dtype=np.int32)
    exact, near = (
        Runtime(bundle, 1, precision).layers(x_TBD, lengths_B) for precision in ("float32", "int8")
    )
    error = np.linalg.norm(near - exact) / np.linalg.norm(exact)
    assert 1e-5 < error < 0.03


def test_a_precision_that_the_bundle_has_no_graph_for(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "small", SMALL, TENSORS)
    message = f"^{bundle.folder}: expected context_encoder.int8.onnx for int8, found none$"
    with pytest.raises(BundleError, match=message):
        Runtime(bundle, 1, "int8")

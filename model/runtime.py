"""A bundle's graphs in ONNX Runtime: token vectors, contextual layers, language-model scores.

Shape letters: N tokens in a row, C characters, D token-vector dim, T tokens of the longest sentence
(boundaries included), B sentences, H hidden (D = H), L layers of a reply, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from model.bundle import Bundle, BundleError
from model.grouping import groups_by_length

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]

# Characters, padding counted, of one run of the character CNN, which writes about a thousand floats for each:
# 16 MB. Without a bound, one token of 10,000 characters among 500 short ones would take 20 GB.
_CHARACTERS_PER_RUN = 4096

# What onnxruntime raises for a file it cannot use; these have no common base but Exception.
_LOAD_ERRORS = (
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.InvalidProtobuf,
    onnxruntime_errors.NoSuchFile,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)


class Runtime:
    """The sessions of one bundle. Every method may be called from several threads at once."""

    def __init__(self, bundle: Bundle, num_threads: int) -> None:
        """num_threads: how many threads one call computes with.

        Raises ValueError when it is below 1, BundleError when onnxruntime cannot use a graph.
        """
        if num_threads < 1:
            raise ValueError(f"num_threads: expected at least 1, got {num_threads}")
        self._architecture = bundle.manifest.architecture
        self._token_encoder, self._context_encoder, self._lm_heads = (
            _open_session(bundle.folder / name, num_threads)
            for name in ("token_encoder.onnx", "context_encoder.onnx", "lm_heads.onnx")
        )

    def token_vectors(self, char_ids_NC: Integers) -> Floats:
        """Return float32 (N, D); a row of padding gives zeros.

        char_ids_NC: int32 in [0, num_characters), 0 = padding, on the right only. Raises ValueError when
        shape, dtype or range is another.
        """
        _check("char_ids_NC", char_ids_NC, np.int32, "N", "C")
        vectors_ND = np.zeros((len(char_ids_NC), self._architecture.hidden_dim), dtype=np.float32)
        if char_ids_NC.size == 0:
            return vectors_ND
        _check_range("char_ids_NC", char_ids_NC, self._architecture.num_characters - 1)
        for rows, num_characters in _character_runs(char_ids_NC):
            feeds = {"char_ids": char_ids_NC[rows, :num_characters]}
            (vectors_ND[rows],) = self._token_encoder.run(["token_vectors"], feeds)
        return vectors_ND

    def mixed(self, x_TBD: Floats, lengths_B: Integers, layer_weights_BL: Floats, gamma_B: Floats) -> Floats:
        """Return float32 (T, B, 2H), gamma * sum over l of layer_weights[l] * layer l: each sentence its own
        mix.

        x_TBD: float32 token vectors with a boundary at both ends; lengths_B: int32 in [0, T], boundaries
        counted; layer_weights_BL and gamma_B: float32. Positions beyond a sentence's length are 0 in the
        result and may hold anything in x_TBD. Raises ValueError when a shape, dtype or length is another.
        """
        self._check_sentences(x_TBD, lengths_B)
        num_sentences = x_TBD.shape[1]
        num_layers = self._architecture.num_vector_layers
        _check("layer_weights_BL", layer_weights_BL, np.float32, num_sentences, num_layers)
        _check("gamma_B", gamma_B, np.float32, num_sentences)
        return self._contextual("mixed", x_TBD, lengths_B, layer_weights_BL, gamma_B)

    def layers(self, x_TBD: Floats, lengths_B: Integers) -> Floats:
        """Return float32 (L, T, B, 2H): every layer, forward half first. As `mixed` in all else."""
        self._check_sentences(x_TBD, lengths_B)
        num_sentences = x_TBD.shape[1]
        unused_BL = np.zeros((num_sentences, self._architecture.num_vector_layers), dtype=np.float32)
        return self._contextual("layers", x_TBD, lengths_B, unused_BL, unused_BL[:, 0])

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        """Return float32 (N, V), natural logarithms: of the next token from the top layer's forward half, of
        the previous token from its backward half.

        Raises ValueError when shape or dtype is another.
        """
        _check("hidden_NH", hidden_NH, np.float32, "N", self._architecture.hidden_dim)
        (log_probabilities_NV,) = self._lm_heads.run(["log_probabilities"], {"hidden": hidden_NH})
        return log_probabilities_NV  # type: ignore[no-any-return]

    def _check_sentences(self, x_TBD: Floats, lengths_B: Integers) -> None:
        _check("x_TBD", x_TBD, np.float32, "T", "B", self._architecture.hidden_dim)
        _check("lengths_B", lengths_B, np.int32, x_TBD.shape[1])
        if lengths_B.size:
            _check_range("lengths_B", lengths_B, x_TBD.shape[0])

    def _contextual(
        self, output: str, x_TBD: Floats, lengths_B: Integers, layer_weights_BL: Floats, gamma_B: Floats
    ) -> Floats:
        """Run the sentences in groups of similar length and put the groups' results together."""
        num_positions, num_sentences, _ = x_TBD.shape
        leading = (self._architecture.num_vector_layers,) if output == "layers" else ()
        shape = (*leading, num_positions, num_sentences, self._architecture.dimension)
        results = np.zeros(shape, dtype=np.float32)
        for rows in groups_by_length(lengths_B):
            longest = int(lengths_B[rows].max())
            if longest == 0:  # onnxruntime ends the process on some empty shapes
                continue
            feeds = {
                "token_vectors": np.take(x_TBD[:longest], rows, axis=1),
                "lengths": lengths_B[rows],
                "layer_weights": layer_weights_BL[rows],
                "gamma": gamma_B[rows],
                "with_layers": np.array(output == "layers"),
            }
            (result,) = self._context_encoder.run([output], feeds)
            results[..., :longest, rows, :] = result
        return results


def _open_session(path: Path, num_threads: int) -> onnxruntime.InferenceSession:
    """Measured with 2 x LSTM(512) and two threads on two cores, ratios within one run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; warnings are about graphs, which are ours
    # One operator after the other, each on all threads: forward and backward side by side (ORT_PARALLEL, two
    # inter-op threads) takes twice as long, for one sentence as for 32.
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = num_threads
    # Threads wait for each other in a loop during a run: sleeping takes 1.5 times as long for one sentence.
    # But they stop with the run: three sessions whose threads go on spinning take each other's cores (2.6
    # times as long for one sentence, a MatMul at half its rate).
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Batches have many shapes, and a memory pattern is kept for each. The arena grows by doubling: after 60
    # batches of 2,048 tokens the process had 203 MB, with arena_extend_strategy=kSameAsRequested 282 MB.
    options.enable_mem_pattern = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        raise BundleError(f"{path}: expected a graph that onnxruntime can run: {error}") from error


def _character_runs(char_ids_NC: Integers) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
    """Yield the rows of each run and their longest number of characters; short tokens first."""
    columns_C = np.arange(1, char_ids_NC.shape[1] + 1)
    lengths_N = ((char_ids_NC != 0) * columns_C).max(axis=1)
    order_N = np.argsort(lengths_N, kind="stable")
    # A row of padding counts as one character: the maximum over none is an error.
    sorted_N = np.maximum(lengths_N[order_N], 1)
    start = 0
    while start < len(order_N):
        characters = sorted_N[start:] * np.arange(1, len(order_N) - start + 1)
        size = max(1, int(np.searchsorted(characters, _CHARACTERS_PER_RUN, side="right")))
        yield order_N[start : start + size], int(sorted_N[start + size - 1])
        start += size


def _check(name: str, array: npt.NDArray[Any], dtype: type[np.generic], *shape: int | str) -> None:
    """Raise ValueError unless dtype and shape fit; a letter in the shape stands for any size."""
    fits = array.ndim == len(shape) and all(
        isinstance(expected, str) or expected == size
        for expected, size in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        expected_shape = ", ".join(map(str, shape))
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} ({expected_shape}), got {array.dtype} {array.shape}"
        )


def _check_range(name: str, array: Integers, largest: int) -> None:
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > largest:
        raise ValueError(f"{name}: expected values from 0 to {largest}, got {low if low < 0 else high}")

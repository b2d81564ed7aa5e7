"""A bundle's graphs in ONNX Runtime: token vectors, contextual layers, language-model scores.

Shape letters: N tokens in a row, C characters, D token-vector dim, T tokens of the longest sentence
(boundaries included) or of a slice, B sentences, H hidden (D = H), L layers of a reply, S parts of a
layer's state, R recurrent layers, V vocabulary.
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
from model.files import CONTEXT_ENCODERS, LM_HEADS_FILE, TOKEN_ENCODER_FILE, Precision
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

    def __init__(self, bundle: Bundle, num_threads: int, precision: Precision = "float32") -> None:
        """num_threads: how many threads one call computes with; precision: of the recurrent layers.

        Raises ValueError when num_threads is below 1, BundleError when there is no graph of this precision
        or onnxruntime cannot use one.
        """
        if num_threads < 1:
            raise ValueError(f"num_threads: expected at least 1, got {num_threads}")
        self._architecture = bundle.manifest.architecture
        context_encoder = CONTEXT_ENCODERS[precision]
        if context_encoder not in bundle.manifest.files:
            raise BundleError(f"{bundle.folder}: expected {context_encoder} for {precision}, found none")
        self._token_encoder, self._context_encoder, self._lm_heads = (
            _open_session(bundle.folder / name, num_threads)
            for name in (TOKEN_ENCODER_FILE, context_encoder, LM_HEADS_FILE)
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
        _check_range("char_ids_NC", char_ids_NC, 0, self._architecture.num_characters - 1)
        for rows, num_characters in _character_runs(char_ids_NC):
            feeds = {"char_ids": char_ids_NC[rows, :num_characters]}
            (vectors_ND[rows],) = self._token_encoder.run(["token_vectors"], feeds)
        return vectors_ND

    def mix_slices(
        self,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        layer_weights_BL: Floats,
        gamma_B: Floats,
    ) -> tuple[Floats, Floats]:
        """Return float32 (T, B, 2H), gamma * sum over l of layer_weights[l] * layer l, each row its own mix,
        and the state after the last token.

        forward_TBD, backward_TBD: float32 token vectors of each direction's next slice, in the sentence's
        order (the backward direction reads them from the right). For whole sentences, a boundary at both
        ends, they are the same array. lengths_B: int32 in [1, T]; beyond a row's length both may hold
        anything and the result is 0. state_SR2BH: what the slice before returned, or `first_state`.
        The result's first H numbers belong to the tokens of forward_TBD, the others to those of backward_TBD.
        Raises ValueError when a shape, dtype or length is another.
        """
        num_sentences = forward_TBD.shape[1]
        num_layers = self._architecture.num_vector_layers
        _check("layer_weights_BL", layer_weights_BL, np.float32, num_sentences, num_layers)
        _check("gamma_B", gamma_B, np.float32, num_sentences)
        mix = {"layer_weights": layer_weights_BL, "gamma": gamma_B, "with_layers": np.array(False)}
        return self._contextual("mixed", forward_TBD, backward_TBD, lengths_B, state_SR2BH, mix)

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        """Return float32 (L, T, B, 2H), every layer, and the state. As `mix_slices` in all else."""
        unused_BL = np.zeros((forward_TBD.shape[1], self._architecture.num_vector_layers), dtype=np.float32)
        mix = {"layer_weights": unused_BL, "gamma": unused_BL[:, 0], "with_layers": np.array(True)}
        return self._contextual("layers", forward_TBD, backward_TBD, lengths_B, state_SR2BH, mix)

    def layers(self, x_TBD: Floats, lengths_B: Integers) -> Floats:
        """Return float32 (L, T, B, 2H): every layer of whole sentences of any lengths, 0 beyond them.

        x_TBD: token vectors with a boundary at both ends; lengths_B: int32 in [0, T], boundaries counted.
        Raises ValueError when a shape, dtype or length is another.
        """
        self._check_sentences(x_TBD, x_TBD, lengths_B, least=0)
        num_positions, num_sentences, _ = x_TBD.shape
        shape = (self._architecture.num_vector_layers, num_positions, num_sentences)
        layers_LTB2H = np.zeros((*shape, self._architecture.dimension), dtype=np.float32)
        for rows in groups_by_length(lengths_B):
            rows = rows[lengths_B[rows] > 0]
            if not len(rows):
                continue
            longest = int(lengths_B[rows].max())
            group_TBD = np.take(x_TBD[:longest], rows, axis=1)
            found, _ = self.layer_slices(group_TBD, group_TBD, lengths_B[rows], self.first_state(len(rows)))
            layers_LTB2H[:, :longest, rows] = found
        return layers_LTB2H

    def first_state(self, num_sentences: int) -> Floats:
        """Return the state (S, R, 2, B, H) in which a sentence begins: zeros."""
        *parts, hidden_dim = self._architecture.state_shape
        return np.zeros((*parts, num_sentences, hidden_dim), dtype=np.float32)

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        """Return float32 (N, V), natural logarithms: of the next token from the top layer's forward half, of
        the previous token from its backward half.

        Raises ValueError when shape or dtype is another.
        """
        _check("hidden_NH", hidden_NH, np.float32, "N", self._architecture.hidden_dim)
        (log_probabilities_NV,) = self._lm_heads.run(["log_probabilities"], {"hidden": hidden_NH})
        return log_probabilities_NV  # type: ignore[no-any-return]

    def _check_sentences(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, least: int
    ) -> None:
        _check("forward_TBD", forward_TBD, np.float32, "T", "B", self._architecture.hidden_dim)
        _check("backward_TBD", backward_TBD, np.float32, *forward_TBD.shape)
        _check("lengths_B", lengths_B, np.int32, forward_TBD.shape[1])
        if lengths_B.size:
            _check_range("lengths_B", lengths_B, least, forward_TBD.shape[0])

    def _contextual(
        self,
        output: str,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        mix: dict[str, npt.NDArray[Any]],
    ) -> tuple[Floats, Floats]:
        self._check_sentences(forward_TBD, backward_TBD, lengths_B, least=1)
        num_sentences = forward_TBD.shape[1]
        *parts, hidden_dim = self._architecture.state_shape
        _check("state_SR2BH", state_SR2BH, np.float32, *parts, num_sentences, hidden_dim)
        if num_sentences == 0:  # onnxruntime ends the process on some empty shapes
            leading = (self._architecture.num_vector_layers,) if output == "layers" else ()
            shape = (*leading, *forward_TBD.shape[:2], self._architecture.dimension)
            return np.zeros(shape, dtype=np.float32), state_SR2BH
        feeds = {
            "forward_vectors": forward_TBD,
            "backward_vectors": backward_TBD,
            "lengths": lengths_B,
            "initial_state": state_SR2BH,
            **mix,
        }
        vectors, state = self._context_encoder.run([output, "final_state"], feeds)
        return vectors, state


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


def _check_range(name: str, array: Integers, least: int, most: int) -> None:
    low, high = int(array.min()), int(array.max())
    if low < least or high > most:
        raise ValueError(
            f"{name}: expected values from {least} to {most}, got {low if low < least else high}"
        )

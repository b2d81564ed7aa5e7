"""A bundle's graphs in ONNX Runtime: token vectors, contextual layers, language-model scores.

Shape letters: N tokens in a row, C characters, D token-vector dim, T tokens of the longest sentence
(boundaries included) or of a slice, B sentences, H hidden (D = H; of a state: `Architecture.state_shape`), L
layers of a reply, S parts of a layer's state, R recurrent layers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle, BundleError
from model.context_encoder import BothDirections, EachDirection
from model.files import CONTEXT_ENCODERS, LM_HEADS_FILE, TOKEN_ENCODER_FILE, Precision
from model.grouping import groups_by_length
from model.sessions import open_session

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
# Characters, padding counted, of one run of the character CNN, which writes about a thousand floats for each:
# 16 MB. Without a bound, one token of 10,000 characters among 500 short ones would take 20 GB.
_CHARACTERS_PER_RUN = 4096


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
            raise BundleError(
                f"{bundle.folder}: expected {context_encoder} for {precision}, found none"
                + (
                    "; LSTMs that are projected or clipped run in float32 alone"
                    * self._architecture.is_scanned
                )
            )
        self._token_encoder = open_session(bundle.folder / TOKEN_ENCODER_FILE, num_threads)
        directions = EachDirection if self._architecture.is_scanned else BothDirections
        self._context_encoder = directions(bundle.folder / context_encoder, num_threads)
        self._lm_heads = (
            open_session(bundle.folder / LM_HEADS_FILE, num_threads)
            if self._architecture.has_softmax
            else None
        )

    def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
        """Return float32 (N, D); a row of padding gives zeros.

        char_ids_NC: int32 in [0, num_characters), 0 = padding, on the right only; with max_characters as many
        for every token, none of them 0. word_ids_N: int32 in [0, word_vocabulary_size), if the network has
        word vectors, else None. Raises ValueError when shape, dtype or range is another.
        """
        architecture = self._architecture
        _check("char_ids_NC", char_ids_NC, np.int32, "N", architecture.max_characters or "C")
        if (word_ids_N is not None) != (architecture.word_dim > 0):
            expected = f"int32 ({len(char_ids_NC)})" if architecture.word_dim else "None"
            raise ValueError(f"word_ids_N: expected {expected}, got {word_ids_N!r:.80}")
        vectors_ND = np.zeros((len(char_ids_NC), architecture.hidden_dim), dtype=np.float32)
        if char_ids_NC.size == 0:
            return vectors_ND
        _check_range("char_ids_NC", char_ids_NC, 0, architecture.num_characters - 1)
        if word_ids_N is not None:
            _check("word_ids_N", word_ids_N, np.int32, len(char_ids_NC))
            _check_range("word_ids_N", word_ids_N, 0, architecture.word_vocabulary_size - 1)
        for rows, num_characters in _character_runs(self._num_characters(char_ids_NC)):
            feeds = {"char_ids": char_ids_NC[rows, :num_characters]}
            if word_ids_N is not None:
                feeds["word_ids"] = word_ids_N[rows]
            (vectors_ND[rows],) = self._token_encoder.run(["token_vectors"], feeds)
        return vectors_ND

    def _num_characters(self, char_ids_NC: Integers) -> npt.NDArray[np.intp]:
        """How many of each row's ids the character CNN has to see, at least 1."""
        architecture = self._architecture
        columns_C = np.arange(1, char_ids_NC.shape[1] + 1)
        if architecture.max_characters is None:
            # A row of padding counts as one character: the maximum over none is an error.
            last_N: npt.NDArray[np.intp] = ((char_ids_NC != 0) * columns_C).max(axis=1)
            return np.maximum(last_N, 1)
        # The windows of every filter over the last id alone, repeated to the row's end, give the same: one of
        # them is enough, and it is seen when as many repetitions are left as the widest filter is wide. Words
        # are short: of 50 ids, most rows need 15.
        differing_N: npt.NDArray[np.intp] = ((char_ids_NC != char_ids_NC[:, -1:]) * columns_C).max(axis=1)
        widest = max(width for width, _ in architecture.filters)
        return np.minimum(differing_N + widest, architecture.max_characters)

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

        Raises ValueError when shape or dtype is another, or when the network has no softmax.
        """
        if self._lm_heads is None:
            raise ValueError("vocabulary_size: expected a network with a softmax, got one without")
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
        return self._context_encoder.run(output, forward_TBD, backward_TBD, lengths_B, state_SR2BH, mix)


def _character_runs(lengths_N: npt.NDArray[np.intp]) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
    """Yield the rows of each run and their longest number of characters; short tokens first."""
    order_N = np.argsort(lengths_N, kind="stable")
    sorted_N = lengths_N[order_N]
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

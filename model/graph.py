"""Weights -> ONNX graphs that hold none: every weight is a place in weights.safetensors.

The file keeps torch's names, layouts and dtype, so that torch loads it as it is. What ONNX wants otherwise
(gate order, float32, a leading axis) is written as nodes on the initialisers, which onnxruntime folds when
the session is made: no weight exists twice on disk, and nothing of it is computed at run time.

Shape letters: N tokens in a row, C characters, E character dim, F filters, W word dim, D token-vector dim, H
hidden (D = H), V vocabulary.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto

from model.architecture import Activation, Architecture
from model.context_graph import build_context_encoder
from model.direction_graph import build_direction_encoder
from model.files import (
    CONTEXT_ENCODER_FILE,
    INT8_CONTEXT_ENCODER_FILE,
    LM_HEADS_FILE,
    TOKEN_ENCODER_FILE,
)
from model.graph_builder import GraphBuilder, Tensors, floats, int32s
from model.int8_graph import build_int8_context_encoder

_ACTIVATIONS: dict[Activation, str] = {"relu": "Relu", "tanh": "Tanh"}
_TO_THE_END = 2**31 - 1


def build_graphs(
    architecture: Architecture, tensors: Tensors, ranges_D: npt.NDArray[np.float32] | None = None
) -> dict[str, bytes]:
    """Return the graph files of a bundle by name.

    tensors: what `model.weights.read_header` returns; ranges_D: those of `build_int8_context_encoder`, which
    is among the graphs if they are given.
    """
    builders = {
        TOKEN_ENCODER_FILE: build_token_encoder,
        CONTEXT_ENCODER_FILE: build_direction_encoder if architecture.is_scanned else build_context_encoder,
    }
    if architecture.has_softmax:
        builders[LM_HEADS_FILE] = build_lm_heads
    graphs = {name: build(architecture, tensors) for name, build in builders.items()}
    if ranges_D is not None:
        graphs[INT8_CONTEXT_ENCODER_FILE] = build_int8_context_encoder(architecture, tensors, ranges_D)
    return {name: graph.SerializeToString(deterministic=True) for name, graph in graphs.items()}


def build_token_encoder(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """char_ids int32 (N, C), and word_ids int32 (N) if the network has them -> token_vectors float32 (N, D).

    Id 0 is padding on the right. With max_characters, every id of a token counts and none is 0; a row may
    leave out ids at its end that only repeat its last one more often than the widest filter is wide, as
    windows of these alone do not differ.
    """
    build = GraphBuilder(tensors)
    x_NF = build.node("Concat", *_maxima(build, architecture), axis=1)
    for i in range(architecture.num_highways):
        x_NF = _highway(build, f"char_cnn.highways.{i}", x_NF)
    inputs = [int32s("char_ids", "N", "C")]
    if architecture.word_dim:
        words_NW = build.node("Gather", build.weight("word_embedding.weight"), "word_ids")
        x_NF = build.node("Concat", words_NW, x_NF, axis=1)
        inputs.append(int32s("word_ids", "N"))
    vectors_ND = build.linear(x_NF, "char_cnn.projection") if architecture.project_characters else x_NF
    largest_N1 = build.node("ReduceMax", "char_ids", build.integers(1), keepdims=1)
    # Ids are never negative: 1 for a token with characters, 0 for a row of padding.
    is_token_N1 = build.node("Cast", build.node("Sign", largest_N1), to=TensorProto.FLOAT)
    build.node("Mul", vectors_ND, is_token_N1, output="token_vectors")
    return build.model(
        "token_encoder",
        inputs,
        [floats("token_vectors", "N", architecture.hidden_dim)],
    )


def _maxima(build: GraphBuilder, architecture: Architecture) -> list[str]:
    """Each filter's best score over all windows, (N, count) for every width.

    The convolutions are matrix products over windows laid side by side: 0.3 to 0.5 of the time of Conv,
    which gains little from so few input channels.
    """
    maxima = []
    shifted = _shifted_characters(build, architecture)
    for i, (width, count) in enumerate(architecture.filters):
        name = f"char_cnn.convolutions.{i}"
        windows = build.node("Concat", *shifted[width], axis=2)
        by_position = build.node("Transpose", build.stored(f"{name}.weight"), perm=[2, 1, 0])
        flat_shape = build.integers(width * architecture.character_dim, count)
        weight = build.float32(build.node("Reshape", by_position, flat_shape))
        maximum = build.node(
            "ReduceMax", build.node("MatMul", windows, weight), build.integers(1), keepdims=0
        )
        biased = build.node("Add", maximum, build.weight(f"{name}.bias"))
        maxima.append(build.node(_ACTIVATIONS[architecture.activation], biased))
    return maxima


def _shifted_characters(build: GraphBuilder, architecture: Architecture) -> dict[int, list[str]]:
    """For each width of a filter, the k-th character of each of its windows, (N, windows, E), for every k."""
    widths = {width for width, _ in architecture.filters}
    if architecture.max_characters is None:
        shifted = _padded_characters(build, max(widths))
        return {width: shifted[:width] for width in widths}
    embedded = build.node("Gather", build.weight("char_cnn.character_embedding.weight"), "char_ids")
    return {width: _unpadded_characters(build, embedded, width) for width in sorted(widths)}


def _padded_characters(build: GraphBuilder, widest: int) -> list[str]:
    """As in the torch module there is one window more than characters, which holds padding alone, so that
    further padding changes nothing."""
    padding = build.constant("padding", np.array(0, dtype=np.int32))
    padded = build.node("Pad", "char_ids", build.integers(0, 0, 0, widest), padding)
    embedded = build.node("Gather", build.weight("char_cnn.character_embedding.weight"), padded)
    num_characters = build.node("Gather", build.node("Shape", "char_ids"), build.integers(1))
    return [
        build.node(
            "Slice",
            embedded,
            build.integers(k),
            build.node("Add", num_characters, build.integers(k + 1)),
            build.integers(1),
        )
        for k in range(widest)
    ]


def _unpadded_characters(build: GraphBuilder, embedded_NCE: str, width: int) -> list[str]:
    """There are C - width + 1 windows, all within the row."""
    ends = [*range(1 - width, 0), _TO_THE_END]
    return [
        build.node("Slice", embedded_NCE, build.integers(k), build.integers(end), build.integers(1))
        for k, end in enumerate(ends)
    ]


def _highway(build: GraphBuilder, name: str, x_NF: str) -> str:
    gate_NF = build.node("Sigmoid", build.linear(x_NF, f"{name}.gate"))
    transformed_NF = build.node("Relu", build.linear(x_NF, f"{name}.transform"))
    change_NF = build.node("Mul", gate_NF, build.node("Sub", transformed_NF, x_NF))
    return build.node("Add", x_NF, change_NF)


def build_lm_heads(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """hidden float32 (N, H) -> log_probabilities float32 (N, V), natural logarithms, in vocabulary order."""
    build = GraphBuilder(tensors)
    if not architecture.tails:
        build.node("LogSoftmax", build.linear("hidden", "softmax"), axis=1, output="log_probabilities")
    else:
        _adaptive_softmax(build, architecture)
    return build.model(
        "lm_heads",
        [floats("hidden", "N", architecture.hidden_dim)],
        [floats("log_probabilities", "N", architecture.vocabulary_size)],
    )


def _adaptive_softmax(build: GraphBuilder, architecture: Architecture) -> None:
    """log p(token) = log p(its tail) + log p(token | tail): tail i is the head's class cutoff0 + i."""
    head = build.node("LogSoftmax", build.linear("hidden", "softmax.head"), axis=1)
    sizes = [architecture.adaptive_cutoffs[0], *(1 for _ in architecture.tails)]
    shortlist, *tails_N1 = build.split(head, sizes, axis=1)
    parts = [shortlist]
    for i, tail_N1 in enumerate(tails_N1):
        projected = build.linear("hidden", f"softmax.tail.{i}.0", bias=False)
        logits = build.linear(projected, f"softmax.tail.{i}.1", bias=False)
        parts.append(build.node("Add", build.node("LogSoftmax", logits, axis=1), tail_N1))
    build.node("Concat", *parts, axis=1, output="log_probabilities")

"""Weights -> ONNX graphs that hold none: every weight is a place in weights.safetensors.

The file keeps torch's names, layouts and dtype, so that torch loads it as it is. What ONNX wants otherwise
(gate order, float32, a leading axis) is written as nodes on the initialisers, which onnxruntime folds when
the session is made: no weight exists twice on disk, and nothing of it is computed at run time.

Shape letters: N tokens in a row, C characters, E character dim, F filters, D token-vector dim, T tokens,
B sentences, H hidden (D = H), L layers of a reply, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from model.architecture import NUM_GATES, Architecture, Cell
from model.graph_builder import GraphBuilder, Tensors

_OPERATORS: dict[Cell, str] = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
# Where each of ONNX's gates is in torch: (i, o, f, c) in (i, f, g, o), and (z, r, h) in (r, z, n).
_GATES: dict[Cell, list[int]] = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}


def _floats(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _int32s(name: str, *shape: int | str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.INT32, shape)


def build_graphs(architecture: Architecture, tensors: Tensors) -> dict[str, bytes]:
    """Return the three graph files of a bundle by name.

    tensors: what `model.weights.read_header` returns.
    """
    builders = {
        "token_encoder.onnx": build_token_encoder,
        "context_encoder.onnx": build_context_encoder,
        "lm_heads.onnx": build_lm_heads,
    }
    return {
        name: build(architecture, tensors).SerializeToString(deterministic=True)
        for name, build in builders.items()
    }


def build_token_encoder(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """char_ids int32 (N, C), 0 = padding on the right -> token_vectors float32 (N, D)."""
    build = GraphBuilder(tensors)
    x_NF = build.node("Concat", *_maxima(build, architecture), axis=1)
    for i in range(architecture.num_highways):
        x_NF = _highway(build, f"char_cnn.highways.{i}", x_NF)
    vectors_ND = build.linear(x_NF, "char_cnn.projection")
    largest_N1 = build.node("ReduceMax", "char_ids", build.integers(1), keepdims=1)
    # Ids are never negative: 1 for a token with characters, 0 for a row of padding.
    is_token_N1 = build.node("Cast", build.node("Sign", largest_N1), to=TensorProto.FLOAT)
    build.node("Mul", vectors_ND, is_token_N1, output="token_vectors")
    return build.model(
        "token_encoder",
        [_int32s("char_ids", "N", "C")],
        [_floats("token_vectors", "N", architecture.hidden_dim)],
    )


def _maxima(build: GraphBuilder, architecture: Architecture) -> list[str]:
    """Each filter's best score over all windows, (N, count) for every width.

    The convolutions are matrix products over windows laid side by side: 0.3 to 0.5 of the time of Conv,
    which gains little from so few input channels. As in the torch module there is one window more than
    characters, which holds padding alone, so that further padding changes nothing.
    """
    maxima = []
    shifted = _shifted_characters(build, architecture)
    for i, (width, count) in enumerate(architecture.filters):
        name = f"char_cnn.convolutions.{i}"
        windows = build.node("Concat", *shifted[:width], axis=2)
        by_position = build.node("Transpose", build.stored(f"{name}.weight"), perm=[2, 1, 0])
        flat_shape = build.integers(width * architecture.character_dim, count)
        weight = build.float32(build.node("Reshape", by_position, flat_shape))
        maximum = build.node(
            "ReduceMax", build.node("MatMul", windows, weight), build.integers(1), keepdims=0
        )
        maxima.append(build.node("Relu", build.node("Add", maximum, build.weight(f"{name}.bias"))))
    return maxima


def _shifted_characters(build: GraphBuilder, architecture: Architecture) -> list[str]:
    """The k-th character of each of the C + 1 windows, (N, C + 1, E), for every k of the widest filter."""
    widest = max(width for width, _ in architecture.filters)
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


def _highway(build: GraphBuilder, name: str, x_NF: str) -> str:
    gate_NF = build.node("Sigmoid", build.linear(x_NF, f"{name}.gate"))
    transformed_NF = build.node("Relu", build.linear(x_NF, f"{name}.transform"))
    change_NF = build.node("Mul", gate_NF, build.node("Sub", transformed_NF, x_NF))
    return build.node("Add", x_NF, change_NF)


def build_context_encoder(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """Token vectors -> the mix of their layers, row by row, or the layers themselves.

    Inputs: token_vectors float32 (T, B, D), lengths int32 (B), layer_weights float32 (B, L), gamma float32
    (B), with_layers bool (). Outputs: mixed float32 (T, B, 2H) = gamma * sum over l of layer_weights[:, l] *
    layers[l], and layers float32 (L, T, B, 2H), which is empty unless with_layers. Both are 0 beyond a
    sentence's length, whatever token_vectors holds there.
    """
    build = GraphBuilder(tensors)
    token_vectors = _masked_token_vectors(build)
    forward, backward = (
        [token_vectors, *_recurrent_stack(build, architecture, direction, token_vectors)]
        for direction in ("forward", "backward")
    )
    factors_BL = build.node("Mul", "layer_weights", build.node("Unsqueeze", "gamma", build.integers(1)))
    factors_B1 = build.split(factors_BL, [1] * architecture.num_vector_layers, axis=1)
    halves = []
    for layers in (forward, backward):
        terms = [build.node("Mul", x_TBH, b1) for x_TBH, b1 in zip(layers, factors_B1, strict=True)]
        halves.append(build.node("Sum", *terms))
    build.node("Concat", *halves, axis=2, output="mixed")
    _layers_on_request(build, architecture, list(zip(forward, backward, strict=True)))
    num_layers, dimension = architecture.num_vector_layers, architecture.dimension
    return build.model(
        "context_encoder",
        [
            _floats("token_vectors", "T", "B", architecture.hidden_dim),
            _int32s("lengths", "B"),
            _floats("layer_weights", "B", num_layers),
            _floats("gamma", "B"),
            helper.make_tensor_value_info("with_layers", TensorProto.BOOL, []),
        ],
        [_floats("mixed", "T", "B", dimension), _floats("layers", num_layers, "T", "B", dimension)],
    )


def _layers_on_request(
    build: GraphBuilder, architecture: Architecture, halves: list[tuple[str, str]]
) -> None:
    """Add the output `layers`, computed when with_layers says so, else with no element.

    onnxruntime computes every output of a graph, also those that were not asked for; putting all layers
    together takes up to 6 % of a run.
    """
    num_layers, dimension = architecture.num_vector_layers, architecture.dimension
    asked = GraphBuilder({}, prefix="asked_")
    layers_1TBD = [
        asked.node("Unsqueeze", asked.node("Concat", *pair, axis=2), asked.integers(0)) for pair in halves
    ]
    asked.node("Concat", *layers_1TBD, axis=0, output="all_layers")
    not_asked = GraphBuilder({}, prefix="not_asked_")
    empty = numpy_helper.from_array(np.zeros((num_layers, 0, 0, dimension), dtype=np.float32))
    not_asked.node("Constant", value=empty, output="no_layers")
    build.node(
        "If",
        "with_layers",
        output="layers",
        then_branch=asked.graph("asked", [], [_floats("all_layers", num_layers, "T", "B", dimension)]),
        else_branch=not_asked.graph("not_asked", [], [_floats("no_layers", num_layers, 0, 0, dimension)]),
    )


def _masked_token_vectors(build: GraphBuilder) -> str:
    """Layer 0. The recurrent operators write 0 beyond a sentence's length; the input may hold anything."""
    zero = build.constant("integer_0", np.array(0, dtype=np.int64))
    one = build.constant("integer_1", np.array(1, dtype=np.int64))
    num_positions = build.node("Gather", build.node("Shape", "token_vectors"), zero)
    positions_T = build.node("Cast", build.node("Range", zero, num_positions, one), to=TensorProto.INT32)
    positions_T1 = build.node("Unsqueeze", positions_T, build.integers(1))
    mask_TB1 = build.node("Unsqueeze", build.node("Less", positions_T1, "lengths"), build.integers(2))
    return build.node(
        "Where", mask_TB1, "token_vectors", build.constant("zero", np.array(0, dtype=np.float32))
    )


def _recurrent_stack(
    build: GraphBuilder, architecture: Architecture, direction: str, x_TBD: str
) -> list[str]:
    """Return the output (T, B, H) of each of one direction's recurrent layers.

    One operator for each direction and layer, because a layer's halves read different inputs.
    """
    attributes: dict[str, Any] = {
        "hidden_size": architecture.hidden_dim,
        "direction": "forward" if direction == "forward" else "reverse",
    }
    if architecture.cell == "gru":
        attributes["linear_before_reset"] = 1
    outputs: list[str] = []
    inputs = x_TBD
    for layer in range(architecture.num_layers):
        weights = _recurrent_weights(build, architecture, f"{direction}_layers.{layer}")
        y_T1BH = build.node(_OPERATORS[architecture.cell], inputs, *weights, "lengths", **attributes)
        y_TBH = build.node("Squeeze", y_T1BH, build.integers(1))
        inputs = build.node("Add", y_TBH, inputs) if outputs else y_TBH
        outputs.append(inputs)
    return outputs


def _recurrent_weights(build: GraphBuilder, architecture: Architecture, name: str) -> tuple[str, str, str]:
    """ONNX's W (1, G*H, D), R (1, G*H, H) and B (1, 2*G*H), gates in ONNX's order."""
    gates = NUM_GATES[architecture.cell]
    hidden_dim = architecture.hidden_dim

    def in_onnx_order(part: str, *shape: int) -> str:
        by_gate = build.node(
            "Reshape", build.stored(f"{name}.{part}_l0"), build.integers(gates, hidden_dim, *shape)
        )
        ordered = build.node("Gather", by_gate, build.integers(*_GATES[architecture.cell]))
        # Cast last: half as many bytes pass through the other steps.
        return build.float32(build.node("Reshape", ordered, build.integers(1, gates * hidden_dim, *shape)))

    bias = build.node("Concat", in_onnx_order("bias_ih"), in_onnx_order("bias_hh"), axis=1)
    return in_onnx_order("weight_ih", hidden_dim), in_onnx_order("weight_hh", hidden_dim), bias


def build_lm_heads(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """hidden float32 (N, H) -> log_probabilities float32 (N, V), natural logarithms, in vocabulary order."""
    build = GraphBuilder(tensors)
    if not architecture.tails:
        build.node("LogSoftmax", build.linear("hidden", "softmax"), axis=1, output="log_probabilities")
    else:
        _adaptive_softmax(build, architecture)
    return build.model(
        "lm_heads",
        [_floats("hidden", "N", architecture.hidden_dim)],
        [_floats("log_probabilities", "N", architecture.vocabulary_size)],
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

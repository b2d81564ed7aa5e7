"""The context encoder as an ONNX graph: token vectors -> contextual layers, mixed row by row.

Shape letters: T tokens, B sentences, D token-vector dim, H hidden (D = H), L layers of a reply, R recurrent
layers, S parts of a layer's state (h and c, or h alone).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from model.architecture import NUM_GATES, Architecture, Cell
from model.graph_builder import GraphBuilder, Tensors, floats, int32s

_OPERATORS: dict[Cell, str] = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
# Where each of ONNX's gates is in torch: (i, o, f, c) in (i, f, g, o), and (z, r, h) in (r, z, n).
_GATES: dict[Cell, list[int]] = {"lstm": [0, 3, 1, 2], "gru": [1, 0, 2], "rnn": [0]}

DIRECTIONS = ("forward", "backward")

Place = tuple[int, ...]
"""Of one part (B, H) of the state: h or c, recurrent layer, direction."""

RecurrentStack = Callable[
    [GraphBuilder, Architecture, int, str, dict[Place, str]], tuple[list[str], dict[Place, str]]
]
"""Adds one direction's recurrent layers to a graph, as `recurrent_stack` does."""


def build_context_encoder(
    architecture: Architecture, tensors: Tensors, stack: RecurrentStack | None = None
) -> ModelProto:
    """A slice of token vectors -> the mix of their layers, row by row, or the layers themselves.

    The forward direction reads a sentence from the left, the backward one from the right; a slice of each is
    read on from the state that the slice before it has left, and both are equally long. A whole sentence is
    one slice, the same for both directions, and begins with zeros.

    Inputs: forward_vectors and backward_vectors float32 (T, B, D), lengths int32 (B) of both, at least 1;
    initial_state float32 (S, R, 2, B, H): h, and for an LSTM c, of each of R recurrent layers, forward
    direction first; layer_weights float32 (B, L), gamma float32 (B), with_layers bool ().
    Outputs: mixed float32 (T, B, 2H) = gamma * sum over l of layer_weights[:, l] * layers[l]; layers float32
    (L, T, B, 2H), which is empty unless with_layers; final_state, as initial_state. The first half of a
    vector belongs to forward_vectors and the second to backward_vectors. Vectors are 0 beyond a row's length,
    whatever the inputs hold there.

    stack: the recurrent layers, if not those of `recurrent_stack`.
    """
    stack = stack or recurrent_stack
    build = GraphBuilder(tensors)
    initial = _split_state(build, architecture)
    mask_TB1 = mask_of(build, "forward_vectors")
    halves: list[list[str]] = []
    final: dict[Place, str] = {}
    zero = build.constant("zero", np.array(0, dtype=np.float32))
    for direction, name in enumerate(DIRECTIONS):
        # Layer 0. The recurrent operators write 0 beyond a row's length; the input may hold anything there.
        token_vectors = build.node("Where", mask_TB1, f"{name}_vectors", zero)
        layers, states = stack(build, architecture, direction, token_vectors, initial)
        halves.append([token_vectors, *layers])
        final.update(states)
    _concatenate_state(build, architecture, final)
    factors_B1 = layer_factors(build, architecture)
    mixed = [mixed_layers(build, layers, factors_B1) for layers in halves]
    build.node("Concat", *mixed, axis=2, output="mixed")
    layers_on_request(build, list(zip(*halves, strict=True)), architecture.dimension)
    return build.model("context_encoder", *_context_interface(architecture))


def _context_interface(architecture: Architecture) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """The inputs and the outputs of the context encoder."""
    num_layers, dimension = architecture.num_vector_layers, architecture.dimension
    state = (*architecture.state_shape[:3], "B", architecture.hidden_dim)
    return [
        *(floats(f"{direction}_vectors", "T", "B", architecture.hidden_dim) for direction in DIRECTIONS),
        int32s("lengths", "B"),
        floats("initial_state", *state),
        floats("layer_weights", "B", num_layers),
        floats("gamma", "B"),
        helper.make_tensor_value_info("with_layers", TensorProto.BOOL, []),
    ], [
        floats("mixed", "T", "B", dimension),
        floats("layers", num_layers, "T", "B", dimension),
        floats("final_state", *state),
    ]


def layer_factors(build: GraphBuilder, architecture: Architecture) -> list[str]:
    """What each layer is multiplied by in the mix, (B, 1)."""
    factors_BL = build.node("Mul", "layer_weights", build.node("Unsqueeze", "gamma", build.integers(1)))
    return build.split(factors_BL, [1] * architecture.num_vector_layers, axis=1)


def mixed_layers(build: GraphBuilder, layers: Sequence[str], factors_B1: list[str], output: str = "") -> str:
    """The sum of the layers (T, B, H), each times its factor."""
    terms = [build.node("Mul", x_TBH, b1) for x_TBH, b1 in zip(layers, factors_B1, strict=True)]
    return build.node("Sum", *terms, output=output)


def layers_on_request(build: GraphBuilder, parts: Sequence[tuple[str, ...]], dimension: int) -> None:
    """Add the output `layers`, computed when with_layers says so, else with no element.

    parts: what lies side by side in each layer; dimension: of these together.

    onnxruntime computes every output of a graph, also those that were not asked for; putting all layers
    together takes up to 6 % of a run.
    """
    num_layers = len(parts)
    asked = GraphBuilder({}, prefix="asked_")
    layers_1TBD = [
        asked.node("Unsqueeze", asked.node("Concat", *pair, axis=2), asked.integers(0)) for pair in parts
    ]
    asked.node("Concat", *layers_1TBD, axis=0, output="all_layers")
    not_asked = GraphBuilder({}, prefix="not_asked_")
    empty = numpy_helper.from_array(np.zeros((num_layers, 0, 0, dimension), dtype=np.float32))
    not_asked.node("Constant", value=empty, output="no_layers")
    build.node(
        "If",
        "with_layers",
        output="layers",
        then_branch=asked.graph("asked", [], [floats("all_layers", num_layers, "T", "B", dimension)]),
        else_branch=not_asked.graph("not_asked", [], [floats("no_layers", num_layers, 0, 0, dimension)]),
    )


def mask_of(build: GraphBuilder, vectors_TBD: str) -> str:
    """(T, B, 1): which positions of these are within their row's length."""
    zero = build.constant("integer_0", np.array(0, dtype=np.int64))
    one = build.constant("integer_1", np.array(1, dtype=np.int64))
    num_positions = build.node("Gather", build.node("Shape", vectors_TBD), zero)
    positions_T = build.node("Cast", build.node("Range", zero, num_positions, one), to=TensorProto.INT32)
    positions_T1 = build.node("Unsqueeze", positions_T, build.integers(1))
    return build.node("Unsqueeze", build.node("Less", positions_T1, "lengths"), build.integers(2))


def _places(architecture: Architecture) -> list[Place]:
    """The parts of the state in the order in which they lie."""
    return list(product(*map(range, architecture.state_shape[:3])))


def _split_state(build: GraphBuilder, architecture: Architecture) -> dict[Place, str]:
    """Each part of the initial state, (1, B, H), as the recurrent operators take it."""
    places = _places(architecture)
    shape = build.integers(len(places), -1, architecture.hidden_dim)
    parts_NBH = build.node("Reshape", "initial_state", shape)
    return dict(zip(places, build.split(parts_NBH, [1] * len(places), axis=0), strict=True))


def _concatenate_state(build: GraphBuilder, architecture: Architecture, parts: dict[Place, str]) -> None:
    """Add the output `final_state`."""
    parts_NBH = build.node("Concat", *(parts[place] for place in _places(architecture)), axis=0)
    shape = build.integers(*architecture.state_shape[:3], -1, architecture.hidden_dim)
    build.node("Reshape", parts_NBH, shape, output="final_state")


def recurrent_stack(
    build: GraphBuilder, architecture: Architecture, direction: int, x_TBD: str, initial: dict[Place, str]
) -> tuple[list[str], dict[Place, str]]:
    """Return the output (T, B, H) of each of one direction's recurrent layers, and its part of the final
    state.

    One operator for each direction and layer, because a layer's halves read different inputs.
    """
    attributes: dict[str, Any] = {
        "hidden_size": architecture.hidden_dim,
        "direction": ("forward", "reverse")[direction],
    }
    if architecture.cell == "gru":
        attributes["linear_before_reset"] = 1
    outputs: list[str] = []
    final: dict[Place, str] = {}
    inputs = x_TBD
    for layer in range(architecture.num_layers):
        weights = _recurrent_weights(build, architecture, f"{DIRECTIONS[direction]}_layers.{layer}")
        places = [(s, layer, direction) for s in range(architecture.state_shape[0])]
        y_T1BH, *states = build.nodes(
            _OPERATORS[architecture.cell],
            [inputs, *weights, "lengths", *(initial[place] for place in places)],
            1 + len(places),
            **attributes,
        )
        final.update(zip(places, states, strict=True))
        y_TBH = build.node("Squeeze", y_T1BH, build.integers(1))
        inputs = build.node("Add", y_TBH, inputs) if outputs and architecture.residual else y_TBH
        outputs.append(inputs)
    return outputs, final


def _recurrent_weights(build: GraphBuilder, architecture: Architecture, name: str) -> tuple[str, str, str]:
    """ONNX's W (1, G*H, D), R (1, G*H, H) and B (1, 2*G*H), gates in ONNX's order."""
    rows = NUM_GATES[architecture.cell] * architecture.hidden_dim

    def flat(part: str, *shape: int) -> str:
        by_gate = gates_in_onnx_order(build, architecture, f"{name}.{part}_l0", *shape)
        # Cast last: half as many bytes pass through the other steps.
        return build.float32(build.node("Reshape", by_gate, build.integers(1, rows, *shape)))

    hidden_dim = architecture.hidden_dim
    bias = build.node("Concat", flat("bias_ih"), flat("bias_hh"), axis=1)
    return flat("weight_ih", hidden_dim), flat("weight_hh", hidden_dim), bias


def gates_in_onnx_order(build: GraphBuilder, architecture: Architecture, name: str, *shape: int) -> str:
    """A stored tensor (G*H, *shape) as (G, H, *shape), its gates where ONNX wants them."""
    split = build.integers(NUM_GATES[architecture.cell], architecture.hidden_dim, *shape)
    by_gate = build.node("Reshape", build.stored(name), split)
    return build.node("Gather", by_gate, build.integers(*_GATES[architecture.cell]))

"""The context encoder with LSTMs of 8-bit integers: less than half of the time, vectors a hundredth off.

onnxruntime's DynamicQuantizeLSTM turns its input and, in each step, its hidden state into 8-bit integers,
over the range that it finds in the whole batch: a neighbour with large values would change a sentence's
vectors (by up to 0.2). Here all ranges are constants, because each of these operands holds two values more,
the largest and the smallest that can occur:

- A hidden state is within -1 and 1. Two more hidden units stand still at these ends. Their weights are zero,
  so that no other unit sees them, and their cells are set by the initial state and kept by their gates.
- The input of the first layer is divided by the largest value that each of its dimensions has over the
  vocabulary, and clipped to -1 and 1; the weights are multiplied by the same. What a later layer reads is a
  sum of hidden states, in which the two units stand for the range as they do above.

Weights are quantised for each output by itself, by nodes that onnxruntime folds when the session is made:
they stand once on disk, in weights.safetensors.

Shape letters: T tokens, B sentences, D token-vector dim, H hidden (D = H), P = H + _NUM_MORE, G gates.
Source: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md, DynamicQuantizeLSTM.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto

from model.architecture import Architecture
from model.context_graph import DIRECTIONS, Place, build_context_encoder, gates_in_onnx_order
from model.graph_builder import GraphBuilder, Tensors

# Two would do; onnxruntime is at its best with multiples of 16.
_NUM_MORE = 16
# Where onnxruntime's approximation of tanh is largest, and its value there, 1 + 2.4e-7: a unit that saturates
# may come out a little above 1, and with the standing units at the top of what can be, the range stays theirs
# to the last bit.
_STANDING_CELL = 8.495975
_STANDING_HIDDEN = 1 + 2**-22
# The sigmoid of this is 1, of its negative 0, to the last bit.
_SATURATED = 30.0
_LARGEST_INT8 = 127.0


def build_int8_context_encoder(
    architecture: Architecture, tensors: Tensors, ranges_D: npt.NDArray[np.float32]
) -> ModelProto:
    """Return the graph, whose inputs and outputs are those of `build_context_encoder`.

    ranges_D: float32, above 0: the largest absolute value of each dimension of a token vector.
    Raises ValueError when the cell is not an LSTM as they are trained here: onnxruntime quantises no other.
    """
    if architecture.cell != "lstm":
        raise ValueError(f"cell: expected lstm, which can be quantised, got {architecture.cell}")
    if architecture.is_scanned or not architecture.residual:
        raise ValueError(
            "cell: expected an LSTM without projection or clips and with residual connections, which can be "
            "quantised, got another"
        )
    return build_context_encoder(architecture, tensors, partial(_int8_stack, ranges_D))


def _int8_stack(
    ranges_D: npt.NDArray[np.float32],
    build: GraphBuilder,
    architecture: Architecture,
    direction: int,
    x_TBD: str,
    initial: dict[Place, str],
) -> tuple[list[str], dict[Place, str]]:
    """As `context_graph.recurrent_stack`."""
    hidden_dim = architecture.hidden_dim
    wanted = [build.integers(0), build.integers(hidden_dim), build.integers(2)]
    standing = _standing_state(build)
    inputs_TBP = _scaled(build, x_TBD, ranges_D)
    outputs: list[str] = []
    final: dict[Place, str] = {}
    for layer in range(architecture.num_layers):
        places = [(part, layer, direction) for part in range(2)]
        y_T1BP, *states_1BP = build.nodes(
            "DynamicQuantizeLSTM",
            _operands(
                build,
                architecture,
                f"{DIRECTIONS[direction]}_layers.{layer}",
                inputs_TBP,
                [_beside(build, initial[place], more) for place, more in zip(places, standing, strict=True)],
                ranges_D if layer == 0 else None,
            ),
            3,
            domain="com.microsoft",
            hidden_size=hidden_dim + _NUM_MORE,
            direction=("forward", "reverse")[direction],
        )
        final.update(
            (place, build.node("Slice", state, *wanted))
            for place, state in zip(places, states_1BP, strict=True)
        )
        y_TBP = build.node("Squeeze", y_T1BP, build.integers(1))
        inputs_TBP = build.node("Add", y_TBP, inputs_TBP) if outputs else y_TBP
        outputs.append(build.node("Slice", inputs_TBP, *wanted))
    return outputs, final


def _scaled(build: GraphBuilder, x_TBD: str, ranges_D: npt.NDArray[np.float32]) -> str:
    """The token vectors within -1 and 1, with these two values beside each: (T, B, P)."""
    inverse = build.constant("inverse_ranges", (1 / ranges_D).astype(np.float32))
    ends = [build.constant(f"end_{end:+}", np.array(end, dtype=np.float32)) for end in (-1, 1)]
    clipped_TBD = build.node("Clip", build.node("Mul", x_TBD, inverse), *ends)
    return _beside(build, clipped_TBD, build.constant("ends", _more(1.0)))


def _beside(build: GraphBuilder, x_TBH: str, more: str) -> str:
    """x_TBH with the same _NUM_MORE values beside each of its vectors."""
    leading = build.node(
        "Slice", build.node("Shape", x_TBH), build.integers(0), build.integers(2), build.integers(0)
    )
    shape = build.node("Concat", leading, build.integers(_NUM_MORE), axis=0)
    return build.node("Concat", x_TBH, build.node("Expand", more, shape), axis=2)


def _standing_state(build: GraphBuilder) -> tuple[str, str]:
    """h and c of the units that stand still."""
    return (
        build.constant("standing_h", _more(_STANDING_HIDDEN)),
        build.constant("standing_c", _more(_STANDING_CELL)),
    )


def _more(value: float) -> npt.NDArray[np.float32]:
    return np.array([value, -value, *[0.0] * (_NUM_MORE - 2)], dtype=np.float32)


def _operands(
    build: GraphBuilder,
    architecture: Architecture,
    name: str,
    inputs: str,
    initial: list[str],
    ranges_D: npt.NDArray[np.float32] | None,
) -> list[str]:
    """What DynamicQuantizeLSTM takes, in its order; ranges_D: what the inputs have been divided by."""
    weight, weight_scale = _quantized(build, architecture, f"{name}.weight_ih_l0", ranges_D)
    recurrence, recurrence_scale = _quantized(build, architecture, f"{name}.weight_hh_l0", None)
    no_shift = build.constant(
        "no_shift", np.zeros((1, 4 * (architecture.hidden_dim + _NUM_MORE)), dtype=np.int8)
    )
    return [
        inputs,
        weight,
        recurrence,
        _bias(build, architecture, name),
        "lengths",
        *initial,
        "",  # no peepholes
        weight_scale,
        no_shift,
        recurrence_scale,
        no_shift,
    ]


def _quantized(
    build: GraphBuilder, architecture: Architecture, name: str, ranges_D: npt.NDArray[np.float32] | None
) -> tuple[str, str]:
    """A stored matrix (G*H, D) as int8 (1, P, G*P), and the scale float32 (1, G*P) of each of its columns."""
    hidden_dim = architecture.hidden_dim
    num_columns = 4 * (hidden_dim + _NUM_MORE)
    by_gate_GHD = build.float32(gates_in_onnx_order(build, architecture, name, hidden_dim))
    if ranges_D is not None:
        by_gate_GHD = build.node("Mul", by_gate_GHD, build.constant("ranges", ranges_D))
    padded_GPP = build.node("Pad", by_gate_GHD, build.integers(0, 0, 0, 0, _NUM_MORE, _NUM_MORE))
    matrix = build.node(
        "Reshape",
        build.node("Transpose", padded_GPP, perm=[2, 0, 1]),
        build.integers(hidden_dim + _NUM_MORE, num_columns),
    )
    largest = build.node("ReduceMax", build.node("Abs", matrix), build.integers(0), keepdims=1)
    # A column of zeros has no scale; any will do.
    smallest = build.constant("smallest_scale", np.array(1e-30, dtype=np.float32))
    levels = build.constant("levels", np.array(_LARGEST_INT8, dtype=np.float32))
    scale = build.node("Max", build.node("Div", largest, levels), smallest)
    rounded = build.node("Round", build.node("Div", matrix, scale))
    int8 = build.node("Cast", rounded, to=TensorProto.INT8)
    return build.node("Unsqueeze", int8, build.integers(0)), scale


def _bias(build: GraphBuilder, architecture: Architecture, name: str) -> str:
    """Both biases, (1, 2*G*P). The gates of the units that stand still: input 0, output 1, forget 1."""
    width = architecture.hidden_dim + _NUM_MORE
    parts = [
        build.float32(gates_in_onnx_order(build, architecture, f"{name}.{part}_l0"))
        for part in ("bias_ih", "bias_hh")
    ]
    gates_41 = np.array([-_SATURATED, _SATURATED, _SATURATED, 0], dtype=np.float32)[:, None]
    standing = build.constant("standing_gates", np.repeat(gates_41, _NUM_MORE, axis=1))
    nothing = build.constant("standing_nothing", np.zeros((4, _NUM_MORE), dtype=np.float32))
    wide = [
        build.node("Concat", part, more, axis=1)
        for part, more in zip(parts, (standing, nothing), strict=True)
    ]
    flat = [build.node("Reshape", part, build.integers(1, 4 * width)) for part in wide]
    return build.node("Concat", *flat, axis=1)

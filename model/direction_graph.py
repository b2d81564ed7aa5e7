"""The context encoder of LSTMs that are projected or clipped, as an ONNX graph: one direction in a run.

ONNX's own LSTM can do neither: it has no projection, and its clip is one of what goes into the gates. So the
recurrence is a Scan, and what does not depend on it is computed for all tokens beforehand.

- The directions never meet, so each is a run of its own, on a thread of its own: the steps of a Scan are too
  short to divide each of them among threads.
- Every gate has its own product, so that nothing has to be cut out of a wider one in each step.
- The token vectors have two columns more, 1 and "beyond the sentence's end". The weights of the first are the
  bias, those of the second close the input gate and open the forget gate to the last bit, so that a sentence
  that has ended keeps its c. Both cost a column of a product instead of a pass over all gates.

Each of these was measured and is faster, at every published size; tests/benchmarks/bench_imported.py says how
fast together.

Shape letters: T tokens, B sentences, D token-vector dim, H hidden (D = H), C cell dim, L layers of a reply, R
recurrent layers.
Source: Sak et al. 2014 (arXiv:1402.1128) for the projection; clips as in https://github.com/allenai/bilm-tf.
"""

from __future__ import annotations

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from model.architecture import Architecture
from model.context_graph import DIRECTIONS, layer_factors, layers_on_request, mask_of, mixed_layers
from model.graph_builder import GraphBuilder, Tensors, floats, int32s

# torch's order, as the tensors are stored.
_GATES = ("i", "f", "g", "o")
# What a position beyond the end adds to each gate. The sigmoid of so much is 1, of its negative 0, to the
# last bit, whatever the gate's own sum is.
_BEYOND = {"i": -1e9, "f": 1e9, "g": 0.0, "o": 0.0}


def build_direction_encoder(architecture: Architecture, tensors: Tensors) -> ModelProto:
    """A slice of token vectors -> one direction's half of the mix of their layers, or of the layers.

    Inputs: vectors float32 (T, B, D), lengths int32 (B), at least 1; initial_state float32 (R, B, H + C): h
    and c of each recurrent layer, side by side; layer_weights float32 (B, L), gamma float32 (B), with_layers
    bool (), backward bool (): the direction. Outputs: mixed float32 (T, B, H), layers float32 (L, T, B, H),
    empty unless with_layers; final_state, as initial_state. Slices, mixes and what lies beyond a row's length
    are as in `context_graph.build_context_encoder`.
    """
    build = GraphBuilder(tensors)
    zero = build.constant("zero", np.array(0, dtype=np.float32))
    mask_TB1 = mask_of(build, "vectors")
    token_vectors = build.node("Where", mask_TB1, "vectors", zero)
    # The two columns more, for the tokens and for every layer's output.
    beyond_TB1 = build.node("Cast", build.node("Not", mask_TB1), to=TensorProto.FLOAT)
    one = build.constant("one", np.ones((1, 1, 1), dtype=np.float32))
    columns_TB2 = build.node(
        "Concat", build.node("Expand", one, build.node("Shape", mask_TB1)), beyond_TB1, axis=2
    )
    initial = _split_state(build, architecture)
    branches = {
        name: _Direction(tensors, architecture, name, mask_TB1, columns_TB2).graph(token_vectors, initial)
        for name in DIRECTIONS
    }
    *layers, final_RBS = build.nodes(
        "If",
        ["backward"],
        architecture.num_layers + 1,
        then_branch=branches["backward"],
        else_branch=branches["forward"],
    )
    build.node("Identity", final_RBS, output="final_state")
    halves = [token_vectors, *layers]
    mixed_layers(build, halves, layer_factors(build, architecture), output="mixed")
    layers_on_request(build, [(layer,) for layer in halves], architecture.hidden_dim)
    return build.model("context_encoder", *_interface(architecture))


def _interface(architecture: Architecture) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """The inputs and the outputs."""
    num_layers, hidden_dim = architecture.num_vector_layers, architecture.hidden_dim
    state = (architecture.num_layers, "B", architecture.state_shape[-1])
    return [
        floats("vectors", "T", "B", hidden_dim),
        int32s("lengths", "B"),
        floats("initial_state", *state),
        floats("layer_weights", "B", num_layers),
        floats("gamma", "B"),
        *(helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("with_layers", "backward")),
    ], [
        floats("mixed", "T", "B", hidden_dim),
        floats("layers", num_layers, "T", "B", hidden_dim),
        floats("final_state", *state),
    ]


def _split_state(build: GraphBuilder, architecture: Architecture) -> list[list[str]]:
    """h (B, H) and c (B, C) of each recurrent layer."""
    parts_1BS = build.split("initial_state", [1] * architecture.num_layers, axis=0)
    sizes = [architecture.hidden_dim, architecture.gate_dim]
    return [build.split(build.node("Squeeze", part, build.integers(0)), sizes, axis=1) for part in parts_1BS]


class _Direction:
    """The recurrent layers of one direction: a graph of their own.

    Their weights are in it too: onnxruntime packs the weights of a Scan's products for speed, but not those
    that stand further out than the graph around it.
    """

    def __init__(
        self, tensors: Tensors, architecture: Architecture, name: str, mask_TB1: str, columns_TB2: str
    ) -> None:
        self._architecture = architecture
        self._name = name
        self._mask_TB1 = mask_TB1
        self._columns_TB2 = columns_TB2
        self._build = GraphBuilder(tensors, prefix=f"{name}_")

    def graph(self, x_TBD: str, initial: list[list[str]]) -> GraphProto:
        """Outputs: what each recurrent layer puts out, (T, B, H), 0 beyond a row's length, and the final
        states of all, (R, B, H + C)."""
        build, architecture = self._build, self._architecture
        inputs = x_TBD
        outputs, final_1BS = [], []
        for layer, state in enumerate(initial):
            y_TBH, state_BS = self._layer(layer, inputs, state)
            if layer > 0 and architecture.residual:
                y_TBH = build.node("Add", y_TBH, inputs)
            inputs = y_TBH
            outputs.append(y_TBH)
            final_1BS.append(build.node("Unsqueeze", state_BS, build.integers(0)))
        final_RBS = build.node("Concat", *final_1BS, axis=0)
        return build.graph(
            self._name,
            [],
            [
                *(floats(output, "T", "B", architecture.hidden_dim) for output in outputs),
                floats(final_RBS, architecture.num_layers, "B", architecture.state_shape[-1]),
            ],
        )

    def _layer(self, layer: int, inputs_TBD: str, state: list[str]) -> tuple[str, str]:
        """Return the output (T, B, H) of one recurrent layer, and its final state (B, H + C)."""
        build, architecture = self._build, self._architecture
        name = f"{self._name}_layers.{layer}"
        wide_TBD2 = build.node("Concat", inputs_TBD, self._columns_TB2, axis=2)
        flat_ND2 = build.node("Reshape", wide_TBD2, build.integers(-1, architecture.hidden_dim + 2))
        shape_TBC = build.node(
            "Concat",
            build.node("Slice", build.node("Shape", inputs_TBD), build.integers(0), build.integers(2)),
            build.integers(architecture.gate_dim),
            axis=0,
        )
        gates_TBC = [
            build.node("Reshape", build.node("Gemm", flat_ND2, weight, transB=1), shape_TBC)
            for weight in self._input_weights(name)
        ]
        direction = DIRECTIONS.index(self._name)
        h_BH, c_BC, y_TBH = build.nodes(
            "Scan",
            [*state, self._mask_TB1, *gates_TBC],
            3,
            body=self._step(name),
            num_scan_inputs=1 + len(_GATES),
            scan_input_directions=[direction] * (1 + len(_GATES)),
            scan_output_directions=[direction],
        )
        zero = build.constant("zero", np.array(0, dtype=np.float32))
        return (
            build.node("Where", self._mask_TB1, y_TBH, zero),
            build.node("Concat", h_BH, c_BC, axis=1),
        )

    def _step(self, name: str) -> GraphProto:
        """One token: h, c, whether it is within its sentence, and each gate's own part of the token ->
        h and c, and h as it is put out.

        i, f, o = sigmoid, g = tanh of the gates' sums; c <- clip(f * c + i * g); h <- clip(project(o *
        tanh(c))).
        """
        architecture = self._architecture
        step = GraphBuilder({}, prefix=f"{name}_")
        h_BH, c_BC, within_B1 = (f"{name}_{part}" for part in ("h", "c", "within"))
        from_token = {gate: f"{name}_{gate}" for gate in _GATES}
        weights = self._by_gate(f"{name}.weight_hh_l0", architecture.hidden_dim)
        sums = {
            gate: step.node("Gemm", h_BH, weight, from_token[gate], transB=1)
            for gate, weight in zip(_GATES, weights, strict=True)
        }
        i, f, o = (step.node("Sigmoid", sums[gate]) for gate in ("i", "f", "o"))
        added_BC = step.node("Mul", i, step.node("Tanh", sums["g"]))
        next_c_BC = _clip(step, step.node("Add", step.node("Mul", f, c_BC), added_BC), architecture.cell_clip)
        next_h_BH = step.node("Mul", o, step.node("Tanh", next_c_BC))
        if architecture.cell_dim is not None:
            projected_BH = step.node("Gemm", next_h_BH, self._build.weight(f"{name}.weight_hr_l0"), transB=1)
            next_h_BH = _clip(step, projected_BH, architecture.projection_clip)
        kept_h_BH = step.node("Where", within_B1, next_h_BH, h_BH)
        hidden_dim, gate_dim = architecture.hidden_dim, architecture.gate_dim
        return step.graph(
            name,
            [
                floats(h_BH, "B", hidden_dim),
                floats(c_BC, "B", gate_dim),
                helper.make_tensor_value_info(within_B1, TensorProto.BOOL, ["B", 1]),
                *(floats(from_token[gate], "B", gate_dim) for gate in _GATES),
            ],
            [
                floats(kept_h_BH, "B", hidden_dim),
                floats(next_c_BC, "B", gate_dim),
                floats(next_h_BH, "B", hidden_dim),
            ],
        )

    def _input_weights(self, name: str) -> list[str]:
        """Of each gate: (C, D + 2), the last columns for 1 and "beyond the end"."""
        build, architecture = self._build, self._architecture
        weights = self._by_gate(f"{name}.weight_ih_l0", architecture.hidden_dim)
        biases = [self._by_gate(f"{name}.{part}_l0", 1) for part in ("bias_ih", "bias_hh")]
        wide = []
        for gate, weight, *both in zip(_GATES, weights, *biases, strict=True):
            beyond_C1 = np.full((architecture.gate_dim, 1), _BEYOND[gate], dtype=np.float32)
            column = build.constant(f"beyond_{gate}", beyond_C1)
            wide.append(build.node("Concat", weight, build.node("Add", *both), column, axis=1))
        return wide

    def _by_gate(self, name: str, num_columns: int) -> list[str]:
        """A stored matrix (4 * C, num_columns), or vector, as float32 (C, num_columns) of each gate."""
        build = self._build
        matrix = build.node("Reshape", build.weight(name), build.integers(-1, num_columns))
        return build.split(matrix, [self._architecture.gate_dim] * len(_GATES), axis=0)


def _clip(build: GraphBuilder, value: str, limit: float | None) -> str:
    """The value within the limit and its negative."""
    if limit is None:
        return value
    ends = [build.constant(f"limit_{end:+}", np.array(end, dtype=np.float32)) for end in (-limit, limit)]
    return build.node("Clip", value, *ends)

"""Write an ONNX graph node by node, its weights as external data: places in weights.safetensors.

Source: https://github.com/onnx/onnx/blob/main/docs/ExternalData.md for the fields of external data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    StringStringEntryProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

from model.files import WEIGHTS_FILE
from model.weights import StoredTensor

Tensors = Mapping[str, StoredTensor]

# Versions that every onnxruntime since 1.14 reads; nothing newer is needed here.
_OPSETS = {"": 18, "com.microsoft": 1}
_IR_VERSION = 8

_ONNX_TYPES = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}


def floats(name: str, *shape: int | str) -> ValueInfoProto:
    """An input or output of float32; a letter in the shape stands for any size."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def int32s(name: str, *shape: int | str) -> ValueInfoProto:
    """The same of int32."""
    return helper.make_tensor_value_info(name, TensorProto.INT32, shape)


class GraphBuilder:
    """Collects nodes. Methods that add one return the name of its output, to be another's input."""

    def __init__(self, tensors: Tensors, prefix: str = "") -> None:
        """tensors: what the weights file holds; prefix: of all generated names, to keep a subgraph's
        apart."""
        self._tensors = tensors
        self._prefix = prefix
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{self._prefix}{operator.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def nodes(self, operator: str, inputs: Sequence[str], num_outputs: int, **attributes: Any) -> list[str]:
        """Add one node with several outputs, and return their names."""
        name = f"{self._prefix}{operator.lower()}_{len(self._nodes)}"
        outputs = [f"{name}_{i}" for i in range(num_outputs)]
        self._nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return outputs

    def split(self, value: str, sizes: Sequence[int], axis: int) -> list[str]:
        return self.nodes("Split", [value, self.integers(*sizes)], len(sizes), axis=axis)

    def integers(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, dtype=np.int64))

    def constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """The same name must always have the same value."""
        name = self._prefix + name
        self._initializers[name] = numpy_helper.from_array(value, name)
        return name

    def stored(self, name: str) -> str:
        """The tensor as it is in the weights file."""
        stored = self._tensors[name]
        place = {"location": WEIGHTS_FILE, "offset": stored.offset, "length": stored.num_bytes}
        self._initializers[name] = TensorProto(
            name=name,
            data_type=_ONNX_TYPES[stored.dtype],
            dims=stored.shape,
            data_location=TensorProto.EXTERNAL,
            external_data=[StringStringEntryProto(key=key, value=str(value)) for key, value in place.items()],
        )
        return name

    def float32(self, value: str) -> str:
        return self.node("Cast", value, to=TensorProto.FLOAT)

    def weight(self, name: str) -> str:
        """The tensor as float32, in torch's layout."""
        return self.float32(self.stored(name))

    def linear(self, x: str, name: str, *, bias: bool = True) -> str:
        """x @ weight.T + bias for x (rows, in)."""
        operands = [self.weight(f"{name}.weight")] + ([self.weight(f"{name}.bias")] if bias else [])
        return self.node("Gemm", x, *operands, transB=1)

    def graph(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        return helper.make_graph(self._nodes, name, inputs, outputs, list(self._initializers.values()))

    def model(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> ModelProto:
        return helper.make_model(
            self.graph(name, inputs, outputs),
            producer_name="polyseme",
            opset_imports=[
                helper.make_opsetid(domain, _OPSETS[domain])
                for domain in sorted({node.domain for node in self._nodes} | {""})
            ],
            ir_version=_IR_VERSION,
        )

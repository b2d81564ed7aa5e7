"""The name and the shape of every weight of a network: those of torch's modules.

Letters: as in `model.architecture`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.architecture import Architecture


def tensor_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by its name in a state dict and in weights.safetensors."""
    return {
        **_char_cnn_shapes(architecture),
        **_recurrent_shapes(architecture),
        **_softmax_shapes(architecture),
    }


def _char_cnn_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    num_filters = architecture.num_filters
    shapes: dict[str, tuple[int, ...]] = {
        "char_cnn.character_embedding.weight": (architecture.num_characters, architecture.character_dim)
    }
    for i, (width, count) in enumerate(architecture.filters):
        shapes[f"char_cnn.convolutions.{i}.weight"] = (count, architecture.character_dim, width)
        shapes[f"char_cnn.convolutions.{i}.bias"] = (count,)
    for i in range(architecture.num_highways):
        for part in ("transform", "gate"):
            shapes[f"char_cnn.highways.{i}.{part}.weight"] = (num_filters, num_filters)
            shapes[f"char_cnn.highways.{i}.{part}.bias"] = (num_filters,)
    if architecture.project_characters:
        shapes["char_cnn.projection.weight"] = (architecture.hidden_dim, architecture.projection_inputs)
        shapes["char_cnn.projection.bias"] = (architecture.hidden_dim,)
    if architecture.word_dim:
        shapes["word_embedding.weight"] = (architecture.word_vocabulary_size, architecture.word_dim)
    return shapes


def _recurrent_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    rows = architecture.gate_rows
    parts: dict[str, tuple[int, ...]] = {
        "weight_ih": (rows, architecture.hidden_dim),
        "weight_hh": (rows, architecture.hidden_dim),
        "bias_ih": (rows,),
        "bias_hh": (rows,),
    }
    if architecture.cell_dim is not None:
        parts["weight_hr"] = (architecture.hidden_dim, architecture.cell_dim)
    return {
        f"{direction}_layers.{layer}.{part}_l0": shape
        for direction in ("forward", "backward")
        for layer in range(architecture.num_layers)
        for part, shape in parts.items()
    }


def _softmax_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    if not architecture.has_softmax:
        return {}
    if not architecture.tails:
        return {
            "softmax.weight": (architecture.vocabulary_size, architecture.hidden_dim),
            "softmax.bias": (architecture.vocabulary_size,),
        }
    head_size = architecture.adaptive_cutoffs[0] + len(architecture.tails)
    shapes: dict[str, tuple[int, ...]] = {
        "softmax.head.weight": (head_size, architecture.hidden_dim),
        "softmax.head.bias": (head_size,),
    }
    for i, tail in enumerate(architecture.tails):
        shapes[f"softmax.tail.{i}.0.weight"] = (tail.dim, architecture.hidden_dim)
        shapes[f"softmax.tail.{i}.1.weight"] = (tail.size, tail.dim)
    return shapes

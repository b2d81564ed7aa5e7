"""The hyper-parameters that fix the network: how many tensors it has, their names and their shapes.

Shape letters: E character dim, F filters, D token-vector dim, H hidden (D = H), L layers of a reply,
V vocabulary.
Source: Peters et al. 2018 (arXiv:1802.05365) for the network, Grave et al. 2017 (arXiv:1609.04309) for the
adaptive softmax, laid out as torch.nn.AdaptiveLogSoftmaxWithLoss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

Cell = Literal["lstm", "gru", "rnn"]

NUM_GATES: dict[Cell, int] = {"lstm": 4, "gru": 3, "rnn": 1}


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shapes of the weights. Raises ValueError on contradictory values."""

    cell: Cell
    num_layers: int  # recurrent layers; a reply has one more, the token vector
    hidden_dim: int  # H, and D: the recurrent layers read and write vectors of the same size
    character_dim: int  # E
    num_characters: int  # rows of the character table; id 0 is padding
    filters: tuple[tuple[int, int], ...]  # (width in characters, count)
    num_highways: int
    vocabulary_size: int  # V
    adaptive_cutoffs: tuple[int, ...]  # () = full softmax, else where the tails begin (without the final V)
    adaptive_div_value: float  # tail i is projected to H / div_value ** (i + 1)

    def __post_init__(self) -> None:
        if self.cell not in get_args(Cell):
            raise ValueError(f"cell: expected one of {', '.join(get_args(Cell))}, got {self.cell!r}")
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}: expected at least {least}, got {getattr(self, name)}")
        if not self.filters or any(width < 1 or count < 1 for width, count in self.filters):
            raise ValueError(
                f"filters: expected one or more (width, count) pairs, both at least 1, got {self.filters}"
            )
        self._check_softmax()

    def _check_softmax(self) -> None:
        bounds = (0, *self.adaptive_cutoffs, self.vocabulary_size)
        if any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(
                f"adaptive_cutoffs: expected increasing values between 1 and vocabulary_size - 1 "
                f"= {self.vocabulary_size - 1}, got {self.adaptive_cutoffs}"
            )
        if not (math.isfinite(self.adaptive_div_value) and self.adaptive_div_value >= 1):
            raise ValueError(
                f"adaptive_div_value: expected a finite number of at least 1, got {self.adaptive_div_value}"
            )
        num_tails = len(self.adaptive_cutoffs)
        # The logarithm comes first because the power itself may overflow.
        too_small = num_tails * math.log2(self.adaptive_div_value) > math.log2(self.hidden_dim) + 1
        if too_small or any(tail.dim < 1 for tail in self.tails):
            raise ValueError(
                f"adaptive_div_value: expected hidden_dim / adaptive_div_value ** {num_tails} >= 1 (the "
                f"size of the last tail), got {self.hidden_dim} / {self.adaptive_div_value} ** {num_tails}"
            )

    @property
    def num_vector_layers(self) -> int:
        """L, the layers of a reply: the token vector and every recurrent layer."""
        return self.num_layers + 1

    @property
    def dimension(self) -> int:
        """2H, the size of every vector of a reply: forward half, then backward half."""
        return 2 * self.hidden_dim

    @property
    def state_shape(self) -> tuple[int, int, int, int]:
        """What one sentence carries from token to token: (h, and for an LSTM c; recurrent layer; direction,
        forward first; H)."""
        return (2 if self.cell == "lstm" else 1, self.num_layers, 2, self.hidden_dim)

    @property
    def num_filters(self) -> int:
        """F, the sum over all widths."""
        return sum(count for _, count in self.filters)

    @property
    def tails(self) -> tuple[Tail, ...]:
        """The tails of the adaptive softmax, most frequent first; () for the full softmax."""
        bounds = pairwise((*self.adaptive_cutoffs, self.vocabulary_size))
        return tuple(
            Tail(low, high, int(self.hidden_dim // self.adaptive_div_value ** (i + 1)))
            for i, (low, high) in enumerate(bounds)
        )

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight by its state-dict name, which is also its name in weights.safetensors."""
        return {**self._char_cnn_shapes(), **self._recurrent_shapes(), **self._softmax_shapes()}

    def _char_cnn_shapes(self) -> dict[str, tuple[int, ...]]:
        num_filters = self.num_filters
        shapes: dict[str, tuple[int, ...]] = {
            "char_cnn.character_embedding.weight": (self.num_characters, self.character_dim)
        }
        for i, (width, count) in enumerate(self.filters):
            shapes[f"char_cnn.convolutions.{i}.weight"] = (count, self.character_dim, width)
            shapes[f"char_cnn.convolutions.{i}.bias"] = (count,)
        for i in range(self.num_highways):
            for part in ("transform", "gate"):
                shapes[f"char_cnn.highways.{i}.{part}.weight"] = (num_filters, num_filters)
                shapes[f"char_cnn.highways.{i}.{part}.bias"] = (num_filters,)
        shapes["char_cnn.projection.weight"] = (self.hidden_dim, num_filters)
        shapes["char_cnn.projection.bias"] = (self.hidden_dim,)
        return shapes

    def _recurrent_shapes(self) -> dict[str, tuple[int, ...]]:
        rows = NUM_GATES[self.cell] * self.hidden_dim
        return {
            f"{direction}_layers.{layer}.{part}_l0": shape
            for direction in ("forward", "backward")
            for layer in range(self.num_layers)
            for part, shape in (
                ("weight_ih", (rows, self.hidden_dim)),
                ("weight_hh", (rows, self.hidden_dim)),
                ("bias_ih", (rows,)),
                ("bias_hh", (rows,)),
            )
        }

    def _softmax_shapes(self) -> dict[str, tuple[int, ...]]:
        if not self.tails:
            return {
                "softmax.weight": (self.vocabulary_size, self.hidden_dim),
                "softmax.bias": (self.vocabulary_size,),
            }
        head_size = self.adaptive_cutoffs[0] + len(self.tails)
        shapes: dict[str, tuple[int, ...]] = {
            "softmax.head.weight": (head_size, self.hidden_dim),
            "softmax.head.bias": (head_size,),
        }
        for i, tail in enumerate(self.tails):
            shapes[f"softmax.tail.{i}.0.weight"] = (tail.dim, self.hidden_dim)
            shapes[f"softmax.tail.{i}.1.weight"] = (tail.size, tail.dim)
        return shapes

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: `from_dict(json.loads(json.dumps(to_dict())))` is equal to self."""
        return {
            **asdict(self),
            "filters": [list(pair) for pair in self.filters],
            "adaptive_cutoffs": list(self.adaptive_cutoffs),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Raise ValueError on an unknown, missing, wrong-typed or contradictory field."""
        expected = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(expected)):
            raise ValueError(f"unknown field {unknown[0]!r}: expected {', '.join(expected)}")
        if missing := [name for name in expected if name not in values]:
            raise ValueError(f"missing field {missing[0]!r}: expected {', '.join(expected)}")
        cell = values["cell"]
        if not isinstance(cell, str):
            raise ValueError(f"cell: expected a string, got {cell!r}")
        return cls(
            cell=cell,  # type: ignore[arg-type]  # any other string is refused by __post_init__
            **{name: _integer(name, values[name]) for name in _LEAST},
            filters=tuple(_filter(pair) for pair in _list("filters", values["filters"])),
            adaptive_cutoffs=tuple(
                _integer("adaptive_cutoffs", cutoff)
                for cutoff in _list("adaptive_cutoffs", values["adaptive_cutoffs"])
            ),
            adaptive_div_value=_number("adaptive_div_value", values["adaptive_div_value"]),
        )


@dataclass(frozen=True, slots=True)
class Tail:
    """One tail of the adaptive softmax: vocabulary ids low..high-1, scored in `dim` dimensions."""

    low: int
    high: int
    dim: int

    @property
    def size(self) -> int:
        return self.high - self.low


# The integer fields and the least value each may have; a table of characters needs padding and one more.
_LEAST = {
    "num_layers": 1,
    "hidden_dim": 1,
    "character_dim": 1,
    "num_characters": 2,
    "num_highways": 0,
    "vocabulary_size": 2,
}


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer, got {value!r}")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _list(name: str, value: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: expected a list, got {value!r}")
    return value


def _filter(value: object) -> tuple[int, int]:
    pair = _list("filters", value)
    if len(pair) != 2:
        raise ValueError(f"filters: expected (width, count) pairs, got {value!r}")
    return _integer("filters", pair[0]), _integer("filters", pair[1])

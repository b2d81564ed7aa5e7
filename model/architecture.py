"""The hyper-parameters that fix the network: how many tensors it has, their names and their shapes.

The fields without a default make the networks that are trained here. The others are what published ELMo
checkpoints have beyond that; a field that holds its default is not written into a manifest.

Shape letters: C an LSTM's cell dim, E character dim, F filters, D token-vector dim, H hidden (D = H),
L layers of a reply, M characters of every token, V vocabulary, W word dim.
Source: Peters et al. 2018 (arXiv:1802.05365) for the network, Grave et al. 2017 (arXiv:1609.04309) for the
adaptive softmax, laid out as torch.nn.AdaptiveLogSoftmaxWithLoss, Sak et al. 2014 (arXiv:1402.1128) for the
projected LSTM, laid out as torch.nn.LSTM(proj_size=H).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal, get_args

from model.json_values import read_boolean, read_integer, read_integers, read_list, read_number, read_string
from model.tensor_shapes import tensor_shapes

Cell = Literal["lstm", "gru", "rnn"]
Activation = Literal["relu", "tanh"]

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
    vocabulary_size: int  # V; 0: the network has no softmax
    adaptive_cutoffs: tuple[int, ...]  # () = full softmax, else where the tails begin (without the final V)
    adaptive_div_value: float  # tail i is projected to H / div_value ** (i + 1)
    cell_dim: int | None = (
        None  # C, if every output of the LSTM is projected to H; None: C = H, no projection
    )
    cell_clip: float | None = None  # c is kept within this value and its negative
    projection_clip: float | None = None  # h too, after the projection
    residual: bool = True  # from the second recurrent layer on, its input is added to what it puts out
    activation: Activation = "relu"  # of the convolutions, after the maximum
    max_characters: int | None = None  # M: rows have M ids, all of them read; None: padding is not read
    project_characters: bool = True  # False: F = D, and the last highway's output is the token vector
    word_vocabulary_size: int = 0  # of a network that is trained here: 0, or V
    word_dim: int = 0  # W: a vector of the word or piece, laid before its filters ahead of the projection

    def __post_init__(self) -> None:
        for name, choices in (("cell", get_args(Cell)), ("activation", get_args(Activation))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}: expected at least {least}, got {value}")
        if not self.filters or any(width < 1 or count < 1 for width, count in self.filters):
            raise ValueError(
                f"filters: expected one or more (width, count) pairs, both at least 1, got {self.filters}"
            )
        self._check_recurrent_layers()
        self._check_token_encoder()
        self._check_softmax()

    def _check_recurrent_layers(self) -> None:
        for name in ("cell_dim", "cell_clip"):
            if getattr(self, name) is not None and self.cell != "lstm":
                raise ValueError(f"{name}: expected none for {self.cell}, got {getattr(self, name)}")
        if self.projection_clip is not None and self.cell_dim is None:
            raise ValueError(
                f"projection_clip: expected none without cell_dim, as h is not projected then, got "
                f"{self.projection_clip}"
            )
        for name in ("cell_clip", "projection_clip"):
            clip = getattr(self, name)
            if clip is not None and not (math.isfinite(clip) and clip > 0):
                raise ValueError(f"{name}: expected a finite number above 0, got {clip}")

    def _check_token_encoder(self) -> None:
        widest = max(width for width, _ in self.filters)
        if self.max_characters is not None and self.max_characters < widest:
            raise ValueError(
                f"max_characters: expected at least {widest}, the widest filter, got {self.max_characters}"
            )
        if (self.word_dim > 0) != (self.word_vocabulary_size > 0):
            raise ValueError(
                f"word_dim: expected above 0 with a word_vocabulary_size above 0, and only then, got "
                f"{self.word_dim} with {self.word_vocabulary_size}"
            )
        if not self.project_characters and self.projection_inputs != self.hidden_dim:
            raise ValueError(
                f"project_characters: expected true unless word_dim + all filters = hidden_dim = "
                f"{self.hidden_dim}, got false with {self.projection_inputs}"
            )

    def _check_softmax(self) -> None:
        if self.vocabulary_size == 0:
            if self.adaptive_cutoffs:
                raise ValueError(
                    f"adaptive_cutoffs: expected none without a vocabulary, got {self.adaptive_cutoffs}"
                )
            return
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
        forward first; H). Of an LSTM that is projected or clipped, h and c lie side by side in one part: (1;
        recurrent layer; direction; H + C)."""
        if self.is_scanned:
            return (1, self.num_layers, 2, self.hidden_dim + self.gate_dim)
        return (2 if self.cell == "lstm" else 1, self.num_layers, 2, self.hidden_dim)

    @property
    def is_scanned(self) -> bool:
        """Whether the LSTMs are projected or clipped, which ONNX's own cannot be."""
        return self.cell_dim is not None or self.cell_clip is not None

    @property
    def _beyond_training(self) -> list[str]:
        """The fields that do not hold their default."""
        values = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        return [name for name, default in values.items() if getattr(self, name) != default]

    def check_trainable(self) -> None:
        """Raise ValueError for a network that is not one of those that are trained here."""
        beyond = [*self._beyond_training, *(["vocabulary_size"] if not self.has_softmax else [])]
        if self.word_vocabulary_size == self.vocabulary_size:  # the pieces, which both number alike
            beyond = [name for name in beyond if name not in ("word_vocabulary_size", "word_dim")]
        if beyond:
            found = ", ".join(f"{name} = {getattr(self, name)}" for name in beyond)
            raise ValueError(
                "expected a network that was trained here: of an imported one, training knows neither the "
                f"cells nor the rows of characters, and there is no softmax to go on with; found {found}"
            )

    @property
    def has_softmax(self) -> bool:
        """Whether the network can say how likely a token is."""
        return self.vocabulary_size > 0

    @property
    def gate_dim(self) -> int:
        """C: how many numbers each gate has."""
        return self.hidden_dim if self.cell_dim is None else self.cell_dim

    @property
    def gate_rows(self) -> int:
        """Rows of a recurrent weight: all gates of a cell, one under the other."""
        return NUM_GATES[self.cell] * self.gate_dim

    @property
    def num_filters(self) -> int:
        """F, the sum over all widths."""
        return sum(count for _, count in self.filters)

    @property
    def projection_inputs(self) -> int:
        """W + F, what becomes a token vector."""
        return self.word_dim + self.num_filters

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
        return tensor_shapes(self)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: `from_dict(json.loads(json.dumps(to_dict())))` is equal to self."""
        written = {*_FIELDS_OF_ALL, *self._beyond_training}
        return {
            **{name: value for name, value in asdict(self).items() if name in written},
            "filters": [list(pair) for pair in self.filters],
            "adaptive_cutoffs": list(self.adaptive_cutoffs),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Architecture:
        """Raise ValueError on an unknown, missing, wrong-typed or contradictory field."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown field {unknown[0]!r}: expected {', '.join(known)}")
        if missing := [name for name in _FIELDS_OF_ALL if name not in values]:
            raise ValueError(f"missing field {missing[0]!r}: expected {', '.join(_FIELDS_OF_ALL)}")
        return cls(**{name: _READ[name](name, value) for name, value in values.items()})


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
    "vocabulary_size": 0,
    "cell_dim": 1,
    "max_characters": 1,
    "word_vocabulary_size": 0,
    "word_dim": 0,
}


def _filters(name: str, value: object) -> tuple[tuple[int, int], ...]:
    pairs = [read_integers(name, pair) for pair in read_list(name, value)]
    for pair in pairs:
        if len(pair) != 2:
            raise ValueError(f"{name}: expected (width, count) pairs, got {list(pair)}")
    return tuple((width, count) for width, count in pairs)


# What every manifest says.
_FIELDS_OF_ALL = [field.name for field in fields(Architecture) if field.default is MISSING]

_READ: dict[str, Callable[[str, object], Any]] = {
    **dict.fromkeys(_LEAST, read_integer),
    "cell": read_string,
    "filters": _filters,
    "adaptive_cutoffs": read_integers,
    "adaptive_div_value": read_number,
    "cell_clip": read_number,
    "projection_clip": read_number,
    "residual": read_boolean,
    "activation": read_string,
    "project_characters": read_boolean,
}
"""How each field is read from JSON."""

"""What a reply to /v1/embed says, whatever form it is written in: for each input its tokens and its rows.

Shape letters: T tokens, R rows, D dimension, L layers, K tasks. The rows of an answer are (R, D), of all
layers (L, R, D), of several tasks (K, R, D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model import scalar_mix
from model.tokenizer import Tokenized
from service.choices import DType
from service.engine.backend import Floats
from service.errors import ErrorType, ServiceError
from service.mixes import Choice, Mix
from service.replies.pooling import Encoded, Span, normalized, pool, pool_spans
from service.schemas import EmbedRequest

Rows = npt.NDArray[np.floating[Any]]
Result = tuple[Tokenized, Floats]
MarkName = Literal["words", "spans"]

_LITTLE_ENDIAN: dict[DType, str] = {"float32": "<f4", "float16": "<f2"}
_LARGEST_FLOAT16 = 65504


@dataclass(frozen=True, slots=True)
class Heading:
    """What a reply says of all its inputs together."""

    model: str
    dimension: int  # D
    num_layers: int  # L
    choice: Choice

    @property
    def names(self) -> list[str] | None:
        """What the leading axis of the rows counts: the layers' numbers, the tasks' names; None for no such
        axis."""
        match self.choice:
            case None:
                return list(map(str, range(self.num_layers)))
            case Mix():
                return None
        return list(self.choice)

    def document(self) -> dict[str, Any]:
        """Return the fields of the reply before the embeddings, as JSON has them."""
        return {
            "model": self.model,
            "dimension": self.dimension,
            "layer_weights": self._of_mixes(lambda mix: mix.weights, of_none=None),
            "gamma": self._of_mixes(lambda mix: mix.gamma, of_none=1.0),
        }

    def _of_mixes(self, told: Callable[[Mix], Any], of_none: Any) -> Any:
        match self.choice:
            case None:
                return of_none
            case Mix():
                return told(self.choice)
        return {name: told(mix) for name, mix in self.choice.items()}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply says of one input."""

    tokens: list[Span]  # T
    rows: Rows  # (..., R, D), contiguous, little-endian, in the dtype that was asked for
    marks: list[Span] | None  # R: the words or spans that the rows are of, where the reply names them


def mark_name(body: EmbedRequest) -> MarkName | None:
    """Return what the marks of the answers are called; None when none has any."""
    if body.spans is not None:
        return "spans"
    return "words" if body.pool == "word" else None


def answers(body: EmbedRequest, choice: Choice, encoded: Sequence[Result]) -> Iterator[Answer]:
    """Yield one answer for each input. Raises ServiceError when a value is too large for the dtype."""
    for i, (text, result) in enumerate(zip(body.inputs, encoded, strict=True)):
        sentence = Encoded.of(text, *result)
        if isinstance(choice, Mapping):
            sentence = replace(sentence, vectors=_mixed(sentence.vectors, choice))
        if body.spans is None:
            rows, marks = pool(sentence, body.pool)
        else:
            rows, marks = pool_spans(sentence, body.spans[i])
        if body.normalize:
            rows = normalized(rows)
        yield Answer(sentence.tokens, in_dtype(rows, body.dtype), marks)


def in_dtype(vectors: Floats, dtype: DType) -> Rows:
    """Return the vectors, contiguous and little-endian. Raises ServiceError when dtype cannot hold them."""
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(vectors, dtype=_LITTLE_ENDIAN[dtype])
    if dtype == "float16" and not np.isfinite(array).all():
        came = f"{float(np.abs(vectors).max()):.6g}"
        message = f"expected values within {_LARGEST_FLOAT16}, which float16 can hold, got {came}"
        raise ServiceError(ErrorType.invalid_request, f"{message}: ask for float32", "dtype")
    return array


def _mixed(layers_LTD: Floats, mixes: Mapping[str, Mix]) -> Floats:
    """Return float32 (K, T, D)."""
    layers_LTD = np.ascontiguousarray(layers_LTD)
    return np.stack([scalar_mix.mix(layers_LTD, mix.weights, mix.gamma) for mix in mixes.values()])

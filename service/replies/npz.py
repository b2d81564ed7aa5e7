"""A reply to /v1/embed as an .npz file. What is in it, users read below (LAYOUT).

Source: numpy.lib.format. The file is a zip archive in which nothing is compressed: vectors hardly shrink.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.lib.format
import numpy.typing as npt

from service.mixes import Mix
from service.replies.answers import Answer, Heading, MarkName
from service.replies.long_reply import Piece
from service.replies.pooling import Span
from service.schemas import Text

LAYOUT = """An `.npz` file, which `numpy.load` reads without pickle. B inputs have N tokens and R rows in all.

- `vectors`: float32 or float16 (R, dimension); with `layer: all` (layers, R, dimension), with `tasks`
  (tasks, R, dimension)
- `row_offsets`: int64 (B + 1); the rows of input i are those from `row_offsets[i]` to `row_offsets[i + 1]`
- `row_starts`, `row_ends`, only with `pool: word` or `spans`: int32 (R), the word or span of each row
- `token_offsets`: int64 (B + 1), as for rows; `token_starts`, `token_ends`: int32 (N); `token_words`: int32
  (N), -1 for a string
- `token_text`: uint8, all tokens in UTF-8 one after the other; `token_text_offsets`: int64 (N + 1) into it
- `model`: text; `layer_weights`: float64 (layers), none with `layer: all`; `gamma`: float64. With `tasks`
  there are their names, text (tasks), and a first axis of tasks for `layer_weights` and `gamma`
"""

Array = npt.NDArray[Any]


def npz_parts(
    heading: Heading, marks: MarkName | None, inputs: Sequence[Text], answers: Iterable[Answer]
) -> list[Piece]:
    """Return the file. The vectors are not copied: they are parts of it as they are."""
    told = list(answers)
    vectors_shape, vectors = _vectors(heading, [answer.rows for answer in told])
    sink = _Sink()
    with ZipFile(sink, "w") as archive:
        _write(archive, "vectors", vectors_shape, vectors)
        for name, array in {
            "row_offsets": _offsets(answer.rows.shape[-2] for answer in told),
            **(_marks(inputs, told) if marks is not None else {}),
            **_tokens([answer.tokens for answer in told]),
            **_mixes(heading),
            "model": np.array(heading.model),
        }.items():
            _write(archive, name, array.shape, [array])
    return sink.parts


class _Sink(io.RawIOBase):
    """A file that keeps what is written to it, without a copy."""

    def __init__(self) -> None:
        self.parts: list[Piece] = []

    def write(self, part: Any, /) -> int:
        self.parts.append(part)
        return len(part)


def _write(archive: ZipFile, name: str, shape: tuple[int, ...], parts: Sequence[Array]) -> None:
    """Write one array, whose values are those of the parts, one after the other."""
    header = {"descr": parts[0].dtype.str, "fortran_order": False, "shape": shape}
    # An entry that is made from its name alone has no date: the same reply is the same bytes.
    with archive.open(ZipInfo(f"{name}.npy"), "w") as entry:
        numpy.lib.format.write_array_header_1_0(entry, header)
        for part in parts:
            entry.write(part.reshape(-1).view(np.uint8).data)


def _vectors(heading: Heading, rows: Sequence[Array]) -> tuple[tuple[int, ...], list[Array]]:
    """Return the shape of all rows together, and the parts that they are made up of, in its order."""
    num_rows = sum(part.shape[-2] for part in rows)
    if heading.names is None:
        return (num_rows, heading.dimension), list(rows)
    axis = range(len(heading.names))
    return (len(axis), num_rows, heading.dimension), [part[i] for i in axis for part in rows]


def _marks(inputs: Sequence[Text], told: Sequence[Answer]) -> Mapping[str, Array]:
    """Return where each row's word or span begins and ends; a word of a list is the whole of itself."""
    starts_ends = [
        (0, len(mark)) if isinstance(mark, str) else (mark["start"], mark["end"])
        for text, answer in zip(inputs, told, strict=True)
        for mark in (text if answer.marks is None else answer.marks)
    ]
    starts_R, ends_R = np.array(starts_ends, dtype=np.int32).reshape(-1, 2).T
    return {"row_starts": starts_R.copy(), "row_ends": ends_R.copy()}


def _tokens(tokens: Sequence[Sequence[Span]]) -> Mapping[str, Array]:
    flat = list(chain.from_iterable(tokens))
    texts = [token["text"].encode() for token in flat]
    return {
        "token_offsets": _offsets(map(len, tokens)),
        "token_starts": np.array([token["start"] for token in flat], dtype=np.int32),
        "token_ends": np.array([token["end"] for token in flat], dtype=np.int32),
        "token_words": np.array([token.get("word", -1) for token in flat], dtype=np.int32),
        "token_text": np.frombuffer(b"".join(texts), dtype=np.uint8),
        "token_text_offsets": _offsets(map(len, texts)),
    }


def _mixes(heading: Heading) -> Mapping[str, Array]:
    match heading.choice:
        case None:
            return {"gamma": np.array(1.0)}
        case Mix():
            return {
                "layer_weights": np.array(heading.choice.weights),
                "gamma": np.array(heading.choice.gamma),
            }
    mixes = heading.choice.values()
    return {
        "tasks": np.array(list(heading.choice)),
        "layer_weights": np.array([mix.weights for mix in mixes]),
        "gamma": np.array([mix.gamma for mix in mixes]),
    }


def _offsets(lengths: Iterable[int]) -> Array:
    return np.array(list(accumulate(lengths, initial=0)), dtype=np.int64)

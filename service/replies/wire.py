"""From vectors to the JSON of a reply. No float becomes a Python object on the way.

A JSON number is the shortest text that reads back as the same float32 (or float16).

A reply is kept as pieces of JSON until it is whole, so that its megabytes are copied once. Each piece holds
the interpreter's lock only while it is made: other requests get their turn in between, also when there is one
long document.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.choices import Encoding

Pieces = Sequence[bytes]
Array = npt.NDArray[np.floating[Any]]

NUMBERS_AT_ONCE = 64 * 1024
"""Of one piece: for so long the interpreter's lock is held."""

BASE64_BYTES_AT_ONCE = 768 * 1024
"""Divisible by 3, or the pieces would have padding within."""


def with_field(document: Mapping[str, Any], name: str, value: Pieces) -> list[bytes]:
    """Return the JSON of a document, not an empty one, with one more field whose value is JSON already."""
    return [orjson.dumps(document)[:-1], b',"%b":' % name.encode(), *value, b"}"]


def listed(items: Iterable[Pieces]) -> list[bytes]:
    """Return a JSON list of items that are JSON already."""
    pieces = [b"["]
    for item in items:
        pieces += [b"," if len(pieces) > 1 else b"", *item]
    return [*pieces, b"]"]


def keyed(items: Iterable[tuple[str, Pieces]]) -> list[bytes]:
    """Return a JSON object of values that are JSON already."""
    pieces = [b"{"]
    for name, value in items:
        pieces += [b"," if len(pieces) > 1 else b"", orjson.dumps(name), b":", *value]
    return [*pieces, b"}"]


def with_vectors(
    document: Mapping[str, Any], vectors: Array, encoding: Encoding, names: Sequence[str] | None = None
) -> list[bytes]:
    """Return the JSON of a document with its `vectors`, a little-endian array of any shape.

    names: what its first axis counts; `vectors` is then an object with an entry for each, and `shape` that of
    one entry.
    """
    write = numbers if encoding == "float" else base64
    if names is None:
        shape, value = vectors.shape, write(vectors)
    else:
        shape = vectors.shape[1:]
        value = keyed((name, write(part)) for name, part in zip(names, vectors, strict=True))
    described = {} if encoding == "float" else {"shape": shape, "dtype": vectors.dtype.name}
    return with_field({**document, **described}, "vectors", value)


def numbers(array: Array) -> list[bytes]:
    """Return an array as JSON numbers, in lists as deep as it has axes."""
    if array.size <= NUMBERS_AT_ONCE or array.ndim == 1:
        return [orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)]
    if array.ndim > 2:
        return listed(map(numbers, array))
    num_rows = max(1, NUMBERS_AT_ONCE // array.shape[-1])
    return listed([_rows(array[start : start + num_rows])] for start in range(0, len(array), num_rows))


def base64(array: Array) -> list[bytes]:
    """Return an array's values, row by row, as base64 in quotation marks."""
    values = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    starts = range(0, len(values), BASE64_BYTES_AT_ONCE)
    coded = [b2a_base64(values[start : start + BASE64_BYTES_AT_ONCE].data, newline=False) for start in starts]
    return [b'"', *coded, b'"']


def _rows(array: Array) -> bytes:
    """Return rows as JSON, without the brackets around them all."""
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]

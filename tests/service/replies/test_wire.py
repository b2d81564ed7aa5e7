"""Bytes that read back as exactly the values that went in."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.choices import Encoding
from service.replies import wire

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ARRAYS = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(FLOAT32, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda values: np.array(values, dtype=np.float32).reshape(shape)
    )
)
ENCODINGS: tuple[Encoding, ...] = ("float", "base64")


def written(vectors: wire.Array, encoding: Encoding, names: list[str] | None = None) -> dict[str, Any]:
    """Write as a route does, read as a client does."""
    embedding = json.loads(b"".join(wire.with_vectors({"num_tokens": 3}, vectors, encoding, names)))
    assert isinstance(embedding, dict)
    assert embedding.pop("num_tokens") == 3
    return embedding


def decoded(part: dict[str, Any], name: str | None = None) -> npt.NDArray[Any]:
    dtype = np.dtype(part["dtype"]).newbyteorder("<")
    text = part["vectors"] if name is None else part["vectors"][name]
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=dtype).reshape(part["shape"])


@given(ARRAYS)
def test_float32_survives_json_and_base64_to_the_last_bit(vectors: wire.Array) -> None:
    numbers = np.array(written(vectors, "float")["vectors"], dtype=np.float32)
    assert numbers.tobytes() == vectors.tobytes()  # the sign of zero, too
    assert decoded(written(vectors, "base64")).tobytes() == vectors.tobytes()


@given(ARRAYS.map(lambda vectors: np.clip(vectors, -65504, 65504).astype(np.float16)))
def test_float16_does_too(half: wire.Array) -> None:
    numbers = np.array(written(half, "float")["vectors"], dtype=np.float16)
    assert numbers.tobytes() == half.tobytes()
    part = written(half, "base64")
    assert decoded(part).tobytes() == half.tobytes()
    assert (part["dtype"], part["shape"]) == ("float16", list(half.shape))


def test_the_fields_of_each_encoding() -> None:
    vectors = np.array([[1, 0.5]], dtype=np.float32)
    assert written(vectors, "float") == {"vectors": [[1.0, 0.5]]}
    assert written(vectors, "base64") == {"vectors": "AACAPwAAAD8=", "shape": [1, 2], "dtype": "float32"}


def test_a_named_axis_is_an_object_whose_entries_share_a_shape() -> None:
    vectors = np.array([[[1, 0.5]], [[2, -1]]], dtype=np.float32)
    names = ["sense", '품"사']
    assert written(vectors, "float", names) == {"vectors": {"sense": [[1.0, 0.5]], '품"사': [[2.0, -1.0]]}}
    part = written(vectors, "base64", names)
    assert (part["shape"], part["dtype"], list(part["vectors"])) == ([1, 2], "float32", names)
    for name, expected in zip(names, vectors, strict=True):
        np.testing.assert_array_equal(decoded(part, name), expected)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_any_layout_in_memory_and_any_number_of_axes(encoding: Encoding) -> None:
    batch = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    for vectors in (
        batch[1:3, 1],
        batch.transpose(2, 1, 0),
        batch[:, ::2],
        batch[:0, 0],
        batch[:, :0],
        batch,
    ):
        part = written(vectors, encoding)
        if encoding == "base64":
            np.testing.assert_array_equal(decoded(part), vectors)
        else:
            assert part["vectors"] == vectors.tolist()


@pytest.mark.parametrize(
    "shape",
    [
        (wire.NUMBERS_AT_ONCE // 8, 8),  # just one piece
        (wire.NUMBERS_AT_ONCE // 8 + 1, 8),
        (2 * wire.NUMBERS_AT_ONCE // 8 + 3, 8),
        (3, wire.NUMBERS_AT_ONCE + 1),  # a row is never divided
        (2, wire.NUMBERS_AT_ONCE // 8 + 1, 8),
        (wire.BASE64_BYTES_AT_ONCE // 4, 1),
        (wire.BASE64_BYTES_AT_ONCE // 4 + 1, 1),
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_is_long_is_written_in_pieces_that_are_the_same_together(
    shape: tuple[int, ...], encoding: Encoding
) -> None:
    vectors = np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
    pieces = wire.with_vectors({"num_tokens": 3}, vectors, encoding)
    assert max(map(len, pieces)) <= max(
        5 * wire.NUMBERS_AT_ONCE, 5 * shape[-1], wire.BASE64_BYTES_AT_ONCE * 4 // 3
    )
    part = written(vectors, encoding)
    values = decoded(part) if encoding == "base64" else np.array(part["vectors"], dtype=np.float32)
    np.testing.assert_array_equal(values, vectors)


@pytest.mark.parametrize("items", [[], [[b"1"]], [[b"1"], [b'{"a"', b":2}"], [b"3"]]])
def test_pieces_of_json_are_json_together(items: list[list[bytes]]) -> None:
    whole = b"".join(wire.with_field({"model": "x"}, "items", wire.listed(items)))
    assert json.loads(whole) == {"model": "x", "items": [json.loads(b"".join(item)) for item in items]}
    named = b"".join(wire.keyed((f'"{i}"', item) for i, item in enumerate(items)))
    assert json.loads(named) == {f'"{i}"': json.loads(b"".join(item)) for i, item in enumerate(items)}

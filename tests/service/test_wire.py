"""Bytes that read back as exactly the values that went in."""

from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import wire
from service.backend import Floats
from service.errors import ServiceError
from service.schemas import DType, Encoding

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
ARRAYS = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(FLOAT32, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]).map(
        lambda values: np.array(values, dtype=np.float32).reshape(shape)
    )
)


def written(vectors: Floats, encoding: Encoding, dtype: DType) -> dict[str, Any]:
    """Write as a route does, read as a client does."""
    embedding = json.loads(b"".join(wire.with_vectors({"num_tokens": 3}, vectors, encoding, dtype)))
    assert isinstance(embedding, dict)
    assert embedding.pop("num_tokens") == 3
    return embedding


def decoded(part: dict[str, Any]) -> npt.NDArray[Any]:
    dtype = np.dtype(part["dtype"]).newbyteorder("<")
    values = np.frombuffer(base64.b64decode(part["vectors"], validate=True), dtype=dtype)
    return values.reshape(part["shape"])


@given(ARRAYS)
def test_float32_survives_json_and_base64_to_the_last_bit(vectors: Floats) -> None:
    numbers = np.array(written(vectors, "float", "float32")["vectors"], dtype=np.float32)
    assert numbers.tobytes() == vectors.tobytes()  # the sign of zero, too
    assert decoded(written(vectors, "base64", "float32")).tobytes() == vectors.tobytes()


@given(ARRAYS.map(lambda vectors: np.clip(vectors, -65504, 65504)))
def test_float16_is_the_nearest_half_in_both(vectors: Floats) -> None:
    half = vectors.astype(np.float16)
    numbers = np.array(written(vectors, "float", "float16")["vectors"], dtype=np.float16)
    assert numbers.tobytes() == half.tobytes()
    part = written(vectors, "base64", "float16")
    assert decoded(part).tobytes() == half.tobytes()
    assert (part["dtype"], part["shape"]) == ("float16", list(vectors.shape))


def test_the_fields_of_each_encoding() -> None:
    vectors = np.array([[1, 0.5]], dtype=np.float32)
    assert written(vectors, "float", "float32") == {"vectors": [[1.0, 0.5]]}
    assert written(vectors, "base64", "float32") == {
        "vectors": "AACAPwAAAD8=",
        "shape": [1, 2],
        "dtype": "float32",
    }


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_any_layout_in_memory_and_any_number_of_axes(encoding: Encoding) -> None:
    batch = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    for vectors in (batch[1:3, 1], batch.transpose(2, 1, 0), batch[:, ::2], batch[:0, 0], batch):
        part = written(vectors, encoding, "float32")
        if encoding == "base64":
            np.testing.assert_array_equal(decoded(part), vectors)
        else:
            assert part["vectors"] == vectors.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_float16_cannot_hold_is_refused_and_not_made_infinite(dtype: DType) -> None:
    vectors = np.array([[1.0, -70000.0]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if dtype == "float32":
            assert written(vectors, "float", dtype) == {"vectors": [[1.0, -70000.0]]}
            return
        with pytest.raises(ServiceError) as caught:
            wire.with_vectors({"num_tokens": 3}, vectors, "base64", dtype)
    assert (caught.value.type.name, caught.value.where) == ("invalid_request", "dtype")
    assert caught.value.message == (
        "expected values within 65504, which float16 can hold, got 70000: ask for float32"
    )


@pytest.mark.parametrize("items", [[], [[b"1"]], [[b"1"], [b'{"a"', b":2}"], [b"3"]]])
def test_pieces_of_json_are_json_together(items: list[list[bytes]]) -> None:
    whole = b"".join(wire.with_field({"model": "x"}, "items", wire.listed(items)))
    assert json.loads(whole) == {"model": "x", "items": [json.loads(b"".join(item)) for item in items]}

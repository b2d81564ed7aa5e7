from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from model.weights import StoredTensor, check_tensors, read_header
from tests.model.plain_network import random_tensors
from tests.model.small_bundles import architecture

TENSORS: dict[str, Any] = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(5, dtype=np.float16),
    "c": np.zeros((0, 4), dtype=np.float32),
}


def safetensors(header: object, data: bytes = b"") -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_every_tensor_is_where_the_header_says(tmp_path: Path) -> None:
    data = save(TENSORS, metadata={"format": "np"})
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    stored = read_header(data)
    assert read_header(path) == stored
    assert stored.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        place = stored[name]
        assert (place.dtype, place.shape) == (tensor.dtype.name, tensor.shape)
        found = data[place.offset : place.offset + place.num_bytes]
        assert found == tensor.tobytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a safetensors header, found the file's end after 0 bytes"),
        (b"1234567", "expected a safetensors header, found the file's end after 7 bytes"),
        (b"\xff" * 8 + b"{}", "expected a safetensors header, found the file's end after 10 bytes"),
        (safetensors(b"{no json"), "expected a safetensors header, found something else"),
        (safetensors(b"\xff\xfe"), "expected a safetensors header, found something else"),
        (safetensors([1, 2]), "expected a safetensors header, found something else"),
        (safetensors({"a": {"dtype": "F32"}}), "expected a safetensors header, found something else"),
        (safetensors({"a": entry(shape="xy")}), "expected a safetensors header, found something else"),
        (
            safetensors({"a": entry(dtype="BF16")}, bytes(8)),
            "tensor a: expected dtype F16 or F32, found BF16",
        ),
        (safetensors({"a": entry(offsets=(0, 9))}, bytes(9)), "tensor a: expected 8 bytes, found 9"),
        (safetensors({"a": entry(offsets=(-8, 0))}, bytes(8)), "tensor a: expected a place in the file"),
        (safetensors({"a": entry()}, bytes(7)), "tensor a: expected a place in the file"),
    ],
    ids=range(12),
)
def test_damaged_headers(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ValueError, match=message):
            read_header(source)


def test_check_tensors() -> None:
    small = architecture()
    stored = read_header(save(random_tensors(small)))
    check_tensors(stored, small, "float32")
    with pytest.raises(ValueError, match=r"expected float16 \(30, 5\), found float32 \(30, 5\)$"):
        check_tensors(stored, small, "float16")
    name = "softmax.head.bias"
    with pytest.raises(ValueError, match=rf"^tensor {name}: expected float32 \(10,\), found none$"):
        check_tensors({other: stored[other] for other in stored if other != name}, small, "float32")
    with pytest.raises(ValueError, match=rf"^tensor {name}: expected float32 \(10,\), found float32 \(9,\)$"):
        check_tensors(stored | {name: StoredTensor("float32", (9,), 0, 36)}, small, "float32")
    with pytest.raises(ValueError, match=r"^tensor more: expected no such tensor, found float32 \(9,\)$"):
        check_tensors(stored | {"more": StoredTensor("float32", (9,), 0, 36)}, small, "float32")

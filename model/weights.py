"""What weights.safetensors holds and where: its header, read without loading a single weight.

The format: 8 bytes with the length n of the header (little-endian), n bytes of JSON, then the tensors.
Source: https://huggingface.co/docs/safetensors (format).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.architecture import Architecture

_DTYPES = {"F16": ("float16", 2), "F32": ("float32", 4)}
# The limit of the reference implementation; it keeps a damaged length from allocating gigabytes.
_MAX_HEADER_BYTES = 100_000_000
# What reading one raises that is not there; brackets without end exceed the recursion limit.
_NOT_A_HEADER = (
    AttributeError,
    KeyError,
    TypeError,
    UnicodeDecodeError,
    json.JSONDecodeError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of the file. `offset` counts from the beginning of the file."""

    dtype: str  # "float16" or "float32"
    shape: tuple[int, ...]
    offset: int
    num_bytes: int

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def read_header(source: bytes | Path) -> dict[str, StoredTensor]:
    """Return every tensor of a safetensors file, given as its bytes or its path, by name.

    Raises ValueError when the header is damaged or points outside the file, OSError when it cannot be read.
    """
    if isinstance(source, bytes):
        return _parse(source[:8], source[8:], len(source))
    with source.open("rb") as file:
        length = file.read(8)
        return _parse(length, file.read(_header_length(length)), os.fstat(file.fileno()).st_size)


def check_tensors(tensors: Mapping[str, StoredTensor], architecture: Architecture, dtype: str) -> None:
    """Raise ValueError unless these are exactly the tensors of the architecture, all of this dtype."""
    shapes = architecture.tensor_shapes()
    for name, shape in shapes.items():
        if name not in tensors:
            raise ValueError(f"tensor {name}: expected {dtype} {shape}, found none")
        found = tensors[name]
        if (found.dtype, found.shape) != (dtype, shape):
            raise ValueError(f"tensor {name}: expected {dtype} {shape}, found {found}")
    if extra := sorted(tensors.keys() - shapes.keys()):
        raise ValueError(f"tensor {extra[0]}: expected no such tensor, found {tensors[extra[0]]}")


def _header_length(length: bytes) -> int:
    return min(int.from_bytes(length, "little"), _MAX_HEADER_BYTES)


def _parse(length: bytes, rest: bytes, file_size: int) -> dict[str, StoredTensor]:
    num_bytes = _header_length(length)
    if len(length) < 8 or len(rest) < num_bytes:
        raise ValueError(f"expected a safetensors header, found the file's end after {file_size} bytes")
    try:
        header = json.loads(rest[:num_bytes])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _tensor(name, entry, 8 + num_bytes, file_size) for name, entry in entries.items()}
    except _NOT_A_HEADER as error:
        raise ValueError(f"expected a safetensors header, found something else ({error!r})") from error


def _tensor(name: str, entry: dict[str, Any], data_start: int, file_size: int) -> StoredTensor:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"tensor {name}: expected dtype {' or '.join(_DTYPES)}, found {entry['dtype']}")
    dtype, item_size = _DTYPES[entry["dtype"]]
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    expected = math.prod(shape) * item_size
    if end - begin != expected:
        raise ValueError(f"tensor {name}: expected {expected} bytes, found {end - begin}")
    start = data_start + begin
    if begin < 0 or start + expected > file_size:
        raise ValueError(
            f"tensor {name}: expected a place in the file's {file_size} bytes, "
            f"found {start} to {start + expected}"
        )
    return StoredTensor(dtype, shape, start, expected)

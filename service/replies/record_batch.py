"""One record batch of an Arrow IPC stream, from arrays that stay where they are.

Source: Arrow Columnar Format 1.5, "Encapsulated message format" and "RecordBatch message"; Message.fbs and
FlatBuffers' internals for the few fields of its metadata. nanoarrow writes record batches too, but copies all
vectors to do so, twice, and holds the interpreter's lock meanwhile: with one of 20,000 tokens, whatever else
the server does would stand still.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from service.replies.long_reply import Piece

END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"

Buffer = Sequence[Piece]
"""Bytes in parts; none at all where a validity is left out because nothing is null."""

_ALIGNMENT = 8
_METADATA_V5, _RECORD_BATCH = 4, 3  # MetadataVersion and MessageHeader

# What a Message and its RecordBatch are, before the two lists that end them. Offsets in tables count from the
# table's start; those that point elsewhere, from where they stand, forwards.
_HEAD = struct.Struct(
    "<"
    "I"  # 0: the Message at 16
    "6H"  # 4: its vtable: sizes of vtable and table, then where its fields are:
    #           version, header_type, header, bodyLength
    "iIqhB1x"  # 16: Message: its vtable 12 before, RecordBatch at 20 + 28, body's length, version, type
    "5H2x"  # 36: vtable of RecordBatch: length, nodes, buffers
    "iIqI"  # 48: RecordBatch: its vtable 12 before, nodes at 52 + 16, length, where the buffers are
)
_NODE = _BUFFER = struct.Struct("<qq")
_COUNT = struct.Struct("<I")


@dataclass(frozen=True)
class Column:
    """An array of any Arrow type, in the parts that the type has."""

    length: int
    null_count: int
    buffers: Sequence[Buffer]  # in the order of its type: validity first
    children: Sequence[Column] = ()

    def walk(self) -> Iterator[Column]:
        """Yield this and all below it, in the order of a record batch."""
        yield self
        for child in self.children:
            yield from child.walk()


def view(array: npt.NDArray[Any]) -> memoryview:
    """Return an array's bytes, where they are. It is contiguous."""
    return array.reshape(-1).view("u1").data


def record_batch(length: int, columns: Sequence[Column]) -> Iterator[Piece]:
    """Yield the message of a record batch with so many rows."""
    nodes = [node for column in columns for node in column.walk()]
    buffers = [buffer for node in nodes for buffer in node.buffers]
    sizes = [sum(map(len, buffer)) for buffer in buffers]
    places = []
    body_bytes = 0
    for size in sizes:
        places.append(_BUFFER.pack(body_bytes, size))
        body_bytes += _aligned(size)
    metadata = _metadata(
        length, body_bytes, [_NODE.pack(node.length, node.null_count) for node in nodes], places
    )
    yield struct.pack("<iI", -1, len(metadata)) + metadata
    for buffer, size in zip(buffers, sizes, strict=True):
        yield from buffer
        yield bytes(_aligned(size) - size)


def _metadata(length: int, body_bytes: int, nodes: Sequence[bytes], buffers: Sequence[bytes]) -> bytes:
    nodes_bytes = len(nodes) * _NODE.size
    # fmt: off
    head = _HEAD.pack(
        16,
        12, 20, 16, 18, 4, 8,
        12, 28, body_bytes, _METADATA_V5, _RECORD_BATCH,
        10, 20, 8, 4, 16,
        12, 16, length, _COUNT.size + nodes_bytes + 8,
    )
    # fmt: on
    # Every list's items begin at a multiple of 8, right after their number.
    lists = [_COUNT.pack(len(nodes)), *nodes, bytes(4), _COUNT.pack(len(buffers)), *buffers]
    metadata = head + b"".join(lists)
    assert len(metadata) % _ALIGNMENT == 0
    return metadata


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // _ALIGNMENT) * _ALIGNMENT

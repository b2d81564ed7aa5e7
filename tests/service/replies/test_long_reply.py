"""A long reply leaves in pieces, in order and whole."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import MutableMapping
from typing import Any

import pytest

from service.replies.long_reply import PIECE_BYTES, LongReply, Piece, gathered

LARGE = bytes(range(256)) * (PIECE_BYTES // 256)


@pytest.mark.parametrize(
    ("parts", "num_pieces"),
    [
        ([], 1),
        ([b"", b"a", b"bc"], 1),
        ([b"a", LARGE, b"b"], 3),
        ([LARGE, LARGE], 2),
        ([LARGE[: PIECE_BYTES // 2]] * 5, 3),
        ([LARGE * 3], 3),
        ([LARGE * 2 + b"a"], 3),
    ],
)
def test_parts_are_gathered_in_order(parts: list[bytes], num_pieces: int) -> None:
    pieces = gathered(iter(parts))
    assert len(pieces) == num_pieces
    assert b"".join(pieces) == b"".join(parts)


def test_a_large_part_is_not_copied() -> None:
    _, piece, _ = gathered([b"a", memoryview(LARGE), b"b"])
    assert isinstance(piece, memoryview)
    assert piece.obj is LARGE


def sent(reply: LongReply) -> list[MutableMapping[str, Any]]:
    messages: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        messages.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("it has nothing to receive")

    asyncio.run(reply({"type": "http"}, receive, send))
    return messages


def test_every_piece_is_a_message_and_the_last_one_says_so() -> None:
    pieces: deque[Piece] = deque([b"ab", memoryview(b"cde"), b""])
    reply = LongReply(pieces, "application/x-npz")
    start, *bodies = sent(reply)
    assert start["status"] == 200
    assert dict(start["headers"]) == {b"content-length": b"5", b"content-type": b"application/x-npz"}
    assert [bytes(body["body"]) for body in bodies] == [b"ab", b"cde", b""]
    assert [body["more_body"] for body in bodies] == [True, True, False]
    assert not pieces, "what has been sent is let go of"

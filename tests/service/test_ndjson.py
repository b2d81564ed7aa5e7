from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message

from service.ndjson import is_ndjson, lines

TEXT = b'{"a": 1}\n\n  \r\n{"b": "\xeb\xb0\xb0"}\r\n{"c": 3}'
LINES = [(1, b'{"a": 1}'), (4, b'{"b": "\xeb\xb0\xb0"}\r'), (5, b'{"c": 3}')]


def read(chunks: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """Return the lines of a body that arrives in these chunks."""
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    waiting = iter(messages)

    async def receive() -> Message:
        return next(waiting)

    async def run() -> list[tuple[int, bytes]]:
        return [line async for line in lines(Request({"type": "http"}, receive))]

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_whatever_the_chunks(size: int) -> None:
    assert read(TEXT[start : start + size] for start in range(0, len(TEXT), size)) == LINES


def test_the_end_of_the_last_line_adds_none() -> None:
    assert read([TEXT + b"\n", b" \n"]) == LINES
    assert read([]) == []
    assert read([b"\n\n"]) == []


@pytest.mark.parametrize(
    ("type", "is_one"),
    [
        ("application/x-ndjson", True),
        ("Application/X-NDJSON ; charset=utf-8", True),
        ("application/json", False),
        ("application/x-ndjsonx", False),
    ],
)
def test_the_media_type(type: str, is_one: bool) -> None:
    assert is_ndjson(Request({"type": "http", "headers": [(b"content-type", type.encode())]})) == is_one


def test_no_media_type_is_none() -> None:
    assert not is_ndjson(Request({"type": "http", "headers": []}))

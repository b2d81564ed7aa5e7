"""A streamed body of one JSON object a line, read as it arrives: the text is never held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

MEDIA_TYPE = "application/x-ndjson"


def is_ndjson(request: Request) -> bool:
    """Whether the body is declared to be of this type."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MEDIA_TYPE


async def lines(request: Request) -> AsyncIterator[tuple[int, bytes]]:
    """Yield each line that is not blank, with its number from 1."""
    number, rest = 0, bytearray()
    async for chunk in request.stream():
        rest += chunk
        *whole, last = rest.split(b"\n") if b"\n" in chunk else (rest,)
        for line in whole:
            number += 1
            if line.strip():
                yield number, bytes(line)
        rest = last
    if rest.strip():
        yield number + 1, bytes(rest)

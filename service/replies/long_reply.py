"""A reply that leaves in pieces, each as the client takes it.

As one body, hundreds of megabytes would be copied into the connection's buffer at once, on the event loop:
all other requests would wait, and the memory be needed twice. A reply of up to one piece is sent whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Piece = bytes | memoryview

PIECE_BYTES = 1024 * 1024


def gathered(parts: Iterable[Piece]) -> deque[Piece]:
    """Return the parts in pieces worth sending: small ones are joined, large ones cut without a copy.

    A piece that the kernel does not take at once is copied into the connection's buffer, on the event loop.
    Joining copies too, so call this on a worker thread. A memoryview is one of bytes (format "B").
    """
    pieces: deque[Piece] = deque()
    small: list[Piece] = []

    def join_small() -> None:
        if small:
            pieces.append(b"".join(small))
            small.clear()

    num_small_bytes = 0
    for part in parts:
        is_large = len(part) >= PIECE_BYTES
        if is_large or num_small_bytes >= PIECE_BYTES:
            join_small()
            num_small_bytes = 0
        if is_large:
            whole = memoryview(part)
            pieces.extend(whole[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES))
        else:
            small.append(part)
            num_small_bytes += len(part)
    join_small()
    return pieces or deque([b""])


class LongReply(Response):
    """A reply of one or more pieces; each is let go of when it is sent."""

    def __init__(self, pieces: deque[Piece], media_type: str) -> None:
        self.num_bytes = sum(map(len, pieces))
        super().__init__(headers={"Content-Length": str(self.num_bytes)}, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while self._pieces:
            piece = self._pieces.popleft()
            await send({"type": "http.response.body", "body": piece, "more_body": bool(self._pieces)})

"""The last part of a request: its reply is written on a worker thread, and sent from the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from starlette.requests import Request

from service.engine.registry import Registry
from service.replies.long_reply import LongReply, Piece, gathered
from service.work import Work


async def written(
    request: Request, work: Work, write: Callable[[], Iterable[Piece]], media_type: str
) -> LongReply:
    """Return the reply whose body `write` gives, which runs on a worker thread. Raises what it raises.

    What the reply was made from must not be needed any more: only the body counts as held from now on.
    """
    registry: Registry = request.app.state.registry
    loop = asyncio.get_running_loop()
    started_s = time.monotonic()
    reply = await loop.run_in_executor(registry.workers, lambda: LongReply(gathered(write()), media_type))
    work.timings.serialize_s = time.monotonic() - started_s
    work.held.shrink(reply.num_bytes)
    return reply

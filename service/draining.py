"""The orderly end: no new work from the first signal on, what has begun is finished, probes say what happens.

While the last requests are worked on, the port stays open: a balancer that asks /readyz reads 503 and its
reason, and a client that still comes is told to go elsewhere, on a connection that is closed after it.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ErrorType, ServiceError
from service.routes.health import PROBES

ANSWERED_TO_THE_END = PROBES | {"/metrics"}


class Drain:
    """Whether the server is stopping, and the requests it still works on."""

    def __init__(self) -> None:
        self.has_begun = False
        self.is_cut = False
        self._in_flight: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    @property
    def num_in_flight(self) -> int:
        """Requests that are worked on."""
        return len(self._in_flight)

    def begin(self) -> None:
        """Take no more work."""
        self.has_begun = True

    async def idle(self) -> None:
        """Wait until nothing is worked on any more."""
        while self._in_flight:
            self._changed.clear()
            await self._changed.wait()

    def cut(self) -> None:
        """Give up what is still worked on; its clients are told so."""
        self.is_cut = True
        for task in self._in_flight:
            task.cancel()

    def entered(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.add(task)

    def left(self, task: asyncio.Task[Any]) -> None:
        self._in_flight.remove(task)
        self._changed.set()


class Draining:
    """ASGI middleware: know the requests in flight, and raise ServiceError for new ones while draining."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ANSWERED_TO_THE_END:
            await self.app(scope, receive, send)
            return
        if self.drain.has_begun:
            raise _stopping("takes no new work")
        task = asyncio.current_task()
        assert task is not None
        self.drain.entered(task)
        try:
            await self.app(scope, receive, send)
        except asyncio.CancelledError:
            if self.drain.is_cut:
                raise _stopping("could not finish this in time") from None
            raise
        finally:
            self.drain.left(task)


def _stopping(consequence: str) -> ServiceError:
    return ServiceError(
        ErrorType.not_ready,
        f"the server is stopping and {consequence}",
        headers={"Connection": "close", "Retry-After": "1"},
    )

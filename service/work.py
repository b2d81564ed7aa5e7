"""One request's work: until when it is wanted, how long its parts took, and the way to give it up.

A route makes one (`Work.of`), gives it to every call of the embedder, and runs these calls under `attended`,
so that nothing is computed for a client that has gone. It ends with the request (`EndOfWork`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.body import show
from service.errors import ErrorType, ServiceError
from service.memory import Held, Memory

Result = TypeVar("Result")

TIMEOUT_HEADER = "X-Request-Timeout-Ms"

MAX_TIMEOUT_DIGITS = 10
"""Four months; a number with more digits is a mistake, and Python takes long to read a million of them."""

UNWATCHED_BYTES = 64 * 1024
"""Of the end of a reply: as much as the connection's buffer holds before the server waits for the reader."""


@dataclass(slots=True)
class Timings:
    """Seconds that the parts of one request took; 0 for what has not happened."""

    tokenize_s: float = 0.0
    queue_s: float = 0.0  # of the slowest sentence: from its submission to its first run
    compute_s: float = 0.0  # of the same sentence: its runs together
    serialize_s: float = 0.0  # set by the route

    def slowest(self, queue_s: float, compute_s: float) -> None:
        """Take in one sentence that is finished."""
        if queue_s + compute_s > self.queue_s + self.compute_s:
            self.queue_s, self.compute_s = queue_s, compute_s


class Work:
    """What a request carries through tokenizer, queue and engine."""

    def __init__(self, deadline_s: float | None = None, memory: Memory | None = None) -> None:
        """deadline_s: the time.monotonic() from which on nobody wants the result; None for never.
        memory: that it may hold a part of, to be ended with `end`; None for work that holds what it likes."""
        self.deadline_s = deadline_s
        self.held = Held(memory or Memory())
        self.timings = Timings()
        self.model: str | None = None  # that works on it
        self.num_tokens = 0  # that were queued for it, boundaries counted
        self.is_background = False  # work that no request waits for, and that makes room for those that do
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._cancelled = False

    @classmethod
    def of(cls, request: Request) -> Work:
        """Return the request's work, which is `request.state.work` from now on.

        Its deadline is the client's header, or the server's setting, whichever is the shorter. Raises
        ServiceError when the header is no positive number of milliseconds.
        """
        registry = request.app.state.registry
        timeouts_ms = [ms for ms in (_asked_ms(request), registry.settings.request_timeout_ms) if ms]
        deadline_s = time.monotonic() + min(timeouts_ms) / 1000 if timeouts_ms else None
        work = cls(deadline_s, registry.memory)
        request.state.work = work
        return work

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the deadline, below 0 when it has passed; None for no deadline."""
        return None if self.deadline_s is None else self.deadline_s - time.monotonic()

    @property
    def has_expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s

    def holds(self, futures: Sequence[Future[Any]]) -> None:
        """Make the futures part of this work, to be given up with it."""
        with self._lock:
            self._futures.update(futures)
            if not self._cancelled:
                return
        _cancel(futures)

    def releases(self, futures: Sequence[Future[Any]]) -> None:
        """Hold the futures, and with them their results, no longer."""
        with self._lock:
            self._futures.difference_update(futures)

    def cancel(self) -> None:
        """Give up: what has not run yet never will, nor the next slice of what is running."""
        with self._lock:
            self._cancelled = True
            futures = list(self._futures)
        _cancel(futures)

    def end(self) -> None:
        """Give up what is left, and hold no memory any more."""
        self.cancel()
        self.held.end()


class EndOfWork:
    """ASGI middleware: a request's work ends when its reply has been sent, or when there will be none.

    A reply has been sent when its client has read all but what the kernel and a small buffer hold. The server
    waits for that before the next part of a reply, but not after the last: so the last one is an empty one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def waiting_send(message: Message) -> None:
            is_end = message["type"] == "http.response.body" and not message.get("more_body", False)
            if is_end and len(message.get("body", b"")) > UNWATCHED_BYTES:
                await send({**message, "more_body": True})
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        try:
            await self.app(scope, receive, waiting_send)
        finally:
            work: Work | None = scope.get("state", {}).get("work")
            if work is not None:
                work.end()


def deadline_exceeded() -> ServiceError:
    return ServiceError(
        ErrorType.deadline_exceeded, f"expected an answer within {TIMEOUT_HEADER}, the work took longer"
    )


async def attended(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Run a request's work while its client waits, and return its result.

    Raises ClientDisconnect when the client goes first; the work is cancelled then. The request's body must
    have been read before.
    """
    running = asyncio.create_task(work)
    leaving = asyncio.create_task(_client_leaves(request))
    try:
        await asyncio.wait({running, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        raise ClientDisconnect
    finally:
        leaving.cancel()
        running.cancel()


async def _client_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _asked_ms(request: Request) -> int | None:
    value = request.headers.get(TIMEOUT_HEADER)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal() and int(value[:MAX_TIMEOUT_DIGITS]) > 0):
        message = f"expected a positive whole number of milliseconds, got {show(value)}"
        raise ServiceError(ErrorType.invalid_request, message, TIMEOUT_HEADER)
    return int(value[:MAX_TIMEOUT_DIGITS])


def _cancel(futures: Sequence[Future[Any]]) -> None:
    for future in futures:
        future.cancel()

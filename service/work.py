"""One request's work: until when it is wanted, how long its parts took, and the way to give it up.

A route makes one (`Work.of`), gives it to every call of the embedder, and runs these calls under `attended`,
so that nothing is computed for a client that has gone.
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

from service.body import show
from service.errors import ErrorType, ServiceError

Result = TypeVar("Result")

TIMEOUT_HEADER = "X-Request-Timeout-Ms"

MAX_TIMEOUT_DIGITS = 10
"""Four months; a number with more digits is a mistake, and Python takes long to read a million of them."""


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

    def __init__(self, deadline_s: float | None = None) -> None:
        """deadline_s: the time.monotonic() from which on nobody wants the result; None for never."""
        self.deadline_s = deadline_s
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
        limit_ms: int = request.app.state.registry.settings.request_timeout_ms
        timeouts_ms = [ms for ms in (_asked_ms(request), limit_ms) if ms]
        work = cls(time.monotonic() + min(timeouts_ms) / 1000 if timeouts_ms else None)
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

"""A request's deadline, its timings, and what happens when its client goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from service.errors import ServiceError
from service.memory import Memory
from service.work import Timings, Work, attended
from tests.service.conftest import fake_settings


def a_request(timeout_ms: str | None = None, request_timeout_ms: int = 0) -> Request:
    """Return a request whose client never goes."""
    headers = [] if timeout_ms is None else [(b"x-request-timeout-ms", timeout_ms.encode("latin-1"))]
    settings = fake_settings(request_timeout_ms=request_timeout_ms)
    app = SimpleNamespace(state=SimpleNamespace(registry=SimpleNamespace(settings=settings, memory=Memory())))
    return Request({"type": "http", "headers": headers, "app": app, "state": {}}, receive=never)


async def never() -> Any:
    await asyncio.Event().wait()


async def gone() -> dict[str, Any]:
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("header", "setting", "seconds"),
    [(None, 0, None), ("2000", 0, 2), (None, 3000, 3), ("2000", 3000, 2), ("4000", 3000, 3)],
)
def test_the_shorter_of_header_and_setting_counts(
    header: str | None, setting: int, seconds: float | None
) -> None:
    request = a_request(header, setting)
    before_s = time.monotonic()
    work = Work.of(request)
    assert request.state.work is work
    if seconds is None:
        assert (work.deadline_s, work.remaining_s, work.has_expired) == (None, None, False)
        return
    assert work.deadline_s is not None
    assert before_s + seconds <= work.deadline_s <= time.monotonic() + seconds
    assert not work.has_expired


@pytest.mark.parametrize("header", ["0", "-1", "1.5", "", " 5", "soon", "\u00b2", "1e3", "0" * 20])
def test_a_timeout_that_is_none(header: str) -> None:
    with pytest.raises(ServiceError) as caught:
        Work.of(a_request(header))
    assert (caught.value.type.name, caught.value.where) == ("invalid_request", "X-Request-Timeout-Ms")
    assert caught.value.message.startswith("expected a positive whole number of milliseconds, got ")


def test_a_very_long_timeout_is_one() -> None:
    work = Work.of(a_request("9" * 5000))
    assert work.remaining_s is not None
    assert work.remaining_s > 3600 * 24


def test_the_slowest_sentence_counts() -> None:
    timings = Timings()
    for queue_s, compute_s in ((1.0, 0.5), (0.25, 2.0), (2.0, 0.125)):
        timings.slowest(queue_s, compute_s)
    assert (timings.queue_s, timings.compute_s) == (0.25, 2.0)


def test_giving_up_reaches_what_came_before_and_what_comes_after() -> None:
    work = Work()
    before: Future[int] = Future()
    after: Future[int] = Future()
    work.holds([before])
    work.cancel()
    work.holds([after])
    assert before.cancelled()
    assert after.cancelled()


def attend(receive: Callable[[], Awaitable[Any]], seconds: float) -> tuple[object, list[str]]:
    """Run some work for a client; return its result, or what was raised, and what became of the work."""
    events: list[str] = []

    async def work() -> str:
        events.append("begun")
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        return "done"

    async def run() -> object:
        request = Request({"type": "http", "headers": []}, receive=receive)
        try:
            return await attended(request, work())
        except ClientDisconnect as error:
            await asyncio.sleep(0)  # the work's own turn
            return error

    return asyncio.run(run()), events


def test_work_for_a_client_that_waits() -> None:
    assert attend(never, 0) == ("done", ["begun"])


def test_work_for_a_client_that_goes() -> None:
    error, events = attend(gone, 60)
    assert isinstance(error, ClientDisconnect)
    assert events == ["begun", "cancelled"]


def test_what_work_raises_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def run() -> None:
        await attended(Request({"type": "http", "headers": []}, receive=never), fail())

    with pytest.raises(ValueError, match=r"^no$"):
        asyncio.run(run())

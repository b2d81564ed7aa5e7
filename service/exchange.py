"""One request and its reply, as the log and the metrics see them: never what a client has written.

`Exchanges` is the outermost layer: it gives the request its id, watches the reply pass, and when both are
over tells those who listen.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.work import Work

REQUEST_ID = "X-Request-Id"

UNMATCHED = "unmatched"
"""Stands for the route of a path that the server does not have, which would be a client's text."""

CLIENT_GONE = 499
"""The status of a request whose client left before the reply; no standard has one, nginx calls it 499."""

_SANE_ID = re.compile(r"[A-Za-z0-9._:=+/@-]{1,128}")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """What happened."""

    request_id: str
    method: str
    route: str  # the template, as /v1/tasks/{name}
    status: int
    error_type: str | None
    duration_s: float
    reply_bytes: int  # of the body
    work: Work | None


class Exchanges:
    """ASGI middleware: see the module."""

    def __init__(self, app: ASGIApp, listeners: Sequence[Callable[[Exchange], None]]) -> None:
        self.app = app
        self.listeners = listeners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        status, num_bytes = CLIENT_GONE, 0
        state: dict[str, Any] = scope.setdefault("state", {})
        request_id = state["request_id"] = _request_id(Headers(scope=scope))

        async def watched_send(message: Message) -> None:
            nonlocal status, num_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            num_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            exchange = Exchange(
                request_id,
                method,
                route_of(scope),
                status,
                state.get("error_type"),
                time.perf_counter() - started_s,
                num_bytes,
                state.get("work"),
            )
            for listener in self.listeners:
                listener(exchange)


def route_of(scope: Scope) -> str:
    """Return the template of a request's route, also of one that was refused before it got there."""
    if (route := scope.get("route")) is not None:
        return str(route.path)
    templates = _templates(scope["app"])
    return next((template for pattern, template in templates if pattern.match(scope["path"])), UNMATCHED)


@lru_cache(maxsize=1)
def _templates(app: FastAPI) -> list[tuple[re.Pattern[str], str]]:
    return [
        (compile_path(context.path)[0], context.path)
        for context in iter_route_contexts(app.routes)
        if context.path is not None
    ]


def _request_id(headers: Headers) -> str:
    """Return the client's own id, or a new one when it sent none that may stand in a log."""
    given = headers.get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(16)

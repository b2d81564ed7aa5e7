"""What every reply carries beside its own headers: how a browser may treat it, how long its parts took. And
what a request's headers may not do."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ErrorType, ServiceError
from service.work import TIMEOUT_HEADER, Timings, Work

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    # /docs is the page that needs the most: its own scripts and styles, styles that its script sets, pictures
    # inside its stylesheet, and calls to this server.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    # A reply is made from a client's text: it is for that client, now.
    "Cache-Control": "no-store",
}

SINGLE = {
    name.lower().encode("ascii"): name
    for name in ("Host", "Authorization", "Content-Type", "Content-Encoding", TIMEOUT_HEADER)
}
"""Of these one value counts. Content-Length is the parser's to check."""

_ENCODED = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in SECURITY.items()]


class ReplyHeaders:
    """ASGI middleware: add the headers; what a route has set itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                headers = [*message["headers"], *(pair for pair in _ENCODED if pair[0] not in own)]
                work: Work | None = scope.get("state", {}).get("work")
                if work is not None:
                    headers.append((b"server-timing", server_timing(work.timings).encode("ascii")))
                message["headers"] = headers
            await send(message)

        await self.app(scope, receive, dressed_send)


def server_timing(timings: Timings) -> str:
    """Return the header's value, in milliseconds. Source: W3C Server Timing."""
    parts = {
        "tokenize": timings.tokenize_s,
        "queue": timings.queue_s,
        "compute": timings.compute_s,
        "serialize": timings.serialize_s,
    }
    return ", ".join(f"{name};dur={seconds * 1000:.3f}" for name, seconds in parts.items())


class HeadAsGet:
    """ASGI middleware: a HEAD request is answered as GET would be; the server leaves the body out."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}  # the server's own scope must go on saying HEAD
        try:
            await self.app(as_get, receive, send)
        finally:
            scope["route"] = as_get.get("route")


class SingleHeaders:
    """ASGI middleware: raise ServiceError for a header with two values of which only one can count.

    Another server on the way, which may have checked a key, could have read the other one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen: dict[bytes, bytes] = {}
            for name, value in scope["headers"]:
                if name in SINGLE and seen.setdefault(name, value) != value:
                    message = f"expected one value of the header {SINGLE[name]}, got two"
                    raise ServiceError(ErrorType.malformed_http, message, SINGLE[name])
        await self.app(scope, receive, send)

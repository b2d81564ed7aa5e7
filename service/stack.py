"""What stands around the routes, from the outside in, and why in this order.

1. Exchanges: sees all that leaves, so that every reply has an id, a line in the log and its metrics.
2. Traces, when they are wanted (tracing.py).
3. ReplyHeaders: on every reply too, also on refusals.
4. CORS, when origins are set: outside of the refusals, or a web page could not read them, and outside of the
   keys, which a browser's preflight request does not carry.
5. Unforeseen: what the layers below raise becomes a reply.
6. HeadAsGet: from here on a HEAD request is a GET.
7. Draining: a server that stops refuses before it asks who is there.
8. SingleHeaders: from here on a header means one thing.
9. Keys: checked before anything is read.
10. BodyLimit: what is read from then on is bounded, in size and time.
11. EndOfWork: what a route has begun ends with its request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from service.auth import Keys
from service.body_limit import BodyLimit
from service.draining import Drain, Draining
from service.errors import Unforeseen
from service.exchange import REQUEST_ID, Exchange, Exchanges
from service.headers import HeadAsGet, ReplyHeaders, SingleHeaders
from service.settings import Settings
from service.work import TIMEOUT_HEADER, EndOfWork


def layers(
    settings: Settings,
    drain: Drain,
    listeners: Sequence[Callable[[Exchange], None]],
    traces: Sequence[Middleware],
) -> list[Middleware]:
    """Return the layers, the outermost first."""
    return [
        Middleware(Exchanges, listeners=listeners),
        *traces,
        Middleware(ReplyHeaders),
        *_cors(settings),
        Middleware(Unforeseen),
        Middleware(HeadAsGet),
        Middleware(Draining, drain=drain),
        Middleware(SingleHeaders),
        Middleware(Keys, settings=settings),
        Middleware(
            BodyLimit,
            max_bytes=settings.max_body_bytes,
            max_task_bytes=settings.max_task_bytes,
            timeout_s=settings.body_timeout_s,
        ),
        Middleware(EndOfWork),
    ]


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "DELETE"),
            allow_headers=("Authorization", "Content-Type", TIMEOUT_HEADER, REQUEST_ID),
            expose_headers=(REQUEST_ID, "Retry-After", "Server-Timing"),
        )
    ]

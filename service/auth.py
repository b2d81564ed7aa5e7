"""Who may ask for what: bearer keys and their scopes. Without any key, everybody may do everything.

A key is looked for before a request's body is read. All keys are compared, each in constant time, so that the
time of an answer tells nothing about them.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from enum import IntEnum

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import ErrorType, ServiceError
from service.pages import PLAYGROUND
from service.routes.health import PROBES
from service.settings import Settings
from service.tasks.paths import is_fit

REALM = 'Bearer realm="polyseme"'


class Access(IntEnum):
    """What a key allows; each includes those before it."""

    OPEN = 0
    READ = 1
    ADMIN = 2


# The first rule that fits a request counts: methods, paths (of both, None: every one), what it needs.
RULES: tuple[tuple[set[str] | None, Callable[[str], bool] | None, Access], ...] = (
    ({"GET", "HEAD"}, PROBES.__contains__, Access.OPEN),  # who asks them has no key, and they tell nothing
    ({"GET", "HEAD"}, PLAYGROUND.__contains__, Access.OPEN),  # a browser opens a page without a key
    ({"PUT", "PATCH", "DELETE"}, None, Access.ADMIN),  # what changes the server
    ({"POST"}, is_fit, Access.ADMIN),
    (None, None, Access.READ),
)


def needed(method: str, path: str) -> Access:
    """Return what a request needs."""
    path = path.removesuffix("\n")  # the router's patterns end with $, which also matches before a last one
    return next(
        access
        for methods, fits, access in RULES
        if (methods is None or method in methods) and (fits is None or fits(path))
    )


class Keys:
    """ASGI middleware: let a request pass, or raise ServiceError."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self._keys = [
            *_encoded(settings.api_keys, Access.READ),
            *_encoded(settings.admin_keys, Access.ADMIN),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._keys and scope["type"] == "http":
            self._check(scope)
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        wanted = needed(scope["method"], scope["path"])
        if wanted is Access.OPEN:
            return
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _unauthorized("another scheme" if scheme else "no such header", REALM)
        granted = self._granted(key.strip().encode("latin-1"))
        if granted is Access.OPEN:
            raise _unauthorized("one that the server does not know", f'{REALM}, error="invalid_token"')
        if granted < wanted:
            raise ServiceError(
                ErrorType.forbidden,
                f"expected an admin key for {scope['method']}, got one that may only read",
                headers={"WWW-Authenticate": f'{REALM}, error="insufficient_scope"'},
            )

    def _granted(self, presented: bytes) -> Access:
        """Return the most that a key allows, comparing it with every one."""
        granted = Access.OPEN
        for key, access in self._keys:
            equal = hmac.compare_digest(key, presented)
            granted = max(granted, Access(access * equal))
        return granted


def _encoded(keys: Iterable[str], access: Access) -> list[tuple[bytes, Access]]:
    return [(key.encode("ascii"), access) for key in keys]


def _unauthorized(came: str, challenge: str) -> ServiceError:
    return ServiceError(
        ErrorType.unauthorized,
        f"expected a key in the header Authorization: Bearer KEY, got {came}",
        headers={"WWW-Authenticate": challenge},
    )

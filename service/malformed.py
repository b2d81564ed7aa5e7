"""What the server answers when what came cannot be read as HTTP: the same JSON as every other refusal.

The parser gives up before there is a request, so that no layer around the routes sees it: the bytes of the
reply are made here, and the connection is closed after them.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from httptools import HttpParserCallbackError

from service.errors import ErrorType, ServiceError
from service.headers import SECURITY

Header = tuple[bytes, bytes]


def explained(error: BaseException | None) -> ServiceError:
    """Return what is wrong with a request, for which the parser has raised `error`."""
    if isinstance(error, HttpParserCallbackError):  # it is not the parser that found a fault
        if isinstance(error.__context__, ServiceError):
            return error.__context__
        reason = "its URL cannot be read"
    else:
        reason = str(error)  # one of the parser's own fixed words
    return ServiceError(ErrorType.malformed_http, f"expected a request in HTTP/1.1, but: {reason}")


def too_long(max_bytes: int, url_bytes: int) -> ServiceError:
    """Return what is wrong with the beginning of a request that has more than `max_bytes`, of which its URL
    has `url_bytes`."""
    if 2 * url_bytes > max_bytes:
        message = f"expected a URL and headers of at most {max_bytes} bytes, got a longer URL"
        return ServiceError(ErrorType.url_too_long, message)
    message = f"expected a URL and headers of at most {max_bytes} bytes, got more"
    return ServiceError(ErrorType.headers_too_large, message)


def reply(error: ServiceError, headers: Iterable[Header]) -> bytes:
    """Return the whole reply, `headers` among its own."""
    response = error.response()
    lines = [b"HTTP/1.1 %d %s" % (response.status_code, HTTPStatus(response.status_code).phrase.encode())]
    safe = ((name.encode(), value.encode()) for name, value in SECURITY.items())
    for name, value in (*headers, *response.raw_headers, *safe, (b"connection", b"close")):
        lines.append(b"%b: %b" % (name.lower(), value))
    return b"\r\n".join([*lines, b"", bytes(response.body)])

"""In which form a reply is sent: what the client's `Accept` header prefers among those there are.

Source: RFC 9110, section 12.5.1. Of forms that a client likes equally the one that it names most exactly
is sent, then the one that it names first.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers

from service.body import show
from service.errors import ErrorType, ServiceError

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
NPZ = "application/x-npz"
FORMS = (JSON, ARROW, NPZ)


def accepted(headers: Headers) -> str:
    """Return one of FORMS, JSON for a client that does not say. Raises ServiceError when it wants none."""
    header = ", ".join(headers.getlist("accept"))
    if not header.strip():
        return JSON
    ranges = [_range(part) for part in header.split(",")]
    ranked = [(_liking(form, ranges), form) for form in FORMS]
    (quality, _, _), best = max(ranked, key=lambda item: item[0])  # the first of equals
    if quality == 0:
        raise ServiceError(
            ErrorType.not_acceptable, f"expected one of {', '.join(FORMS)}, got {show(header)}", "Accept"
        )
    return best


def _range(part: str) -> tuple[str, float]:
    """Return a media range and its quality: 0 when it cannot be read."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return media_range, _quality(value.strip())
    return media_range, 1.0


def _quality(text: str) -> float:
    digits = text.replace(".", "", 1)
    return min(float(text), 1.0) if digits.isascii() and digits.isdecimal() else 0.0


def _liking(form: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int, int]:
    """Return the quality of a form, how exactly it is named, and how early; the larger, the better."""
    kind = form.partition("/")[0]
    for exactness, pattern in ((2, form), (1, f"{kind}/*"), (0, "*/*")):
        for place, (media_range, quality) in enumerate(ranges):
            if media_range == pattern:
                return quality, exactness, -place
    return 0.0, 0, 0

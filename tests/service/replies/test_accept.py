"""Which form the `Accept` header of a client asks for."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from service.errors import ServiceError
from service.replies.accept import ARROW, FORMS, JSON, NPZ, accepted


def form(*headers: str) -> str:
    return accepted(Headers(raw=[(b"accept", header.encode()) for header in headers]))


@pytest.mark.parametrize(
    "header", [None, "", " ", "*/*", "application/*", "application/json", "text/html, */*;q=0.1"]
)
def test_json_is_the_default(header: str | None) -> None:
    assert (form() if header is None else form(header)) == JSON


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (ARROW, ARROW),
        (NPZ, NPZ),
        (ARROW.upper(), ARROW),
        (f" {NPZ} ; version=1 ", NPZ),
        (f"{ARROW}, */*", ARROW),  # named exactly, though both are liked equally
        (f"*/*, {NPZ}", NPZ),
        (f"application/*, {NPZ}", NPZ),
        (f"{ARROW}, {JSON}", ARROW),  # the first named
        (f"{JSON}, {ARROW}", JSON),
        (f"{JSON};q=0.5, {ARROW};q=0.9, {NPZ};q=0.8", ARROW),
        (f"{ARROW};q=0.5, */*;q=0.9", JSON),
        (f"{JSON};q=0, */*", ARROW),  # JSON refused: the next of what there is
        (f"{JSON};q=0, {ARROW}; q=0.000, */*;q=0.001", NPZ),
        (f"{ARROW};q=abc, {NPZ};q=0.1", NPZ),  # a quality that cannot be read counts as none
        (f"{ARROW};q=7, {NPZ}", ARROW),
        (f"text/html, {NPZ};q=.2", NPZ),
    ],
)
def test_the_most_liked_form_wins(header: str, expected: str) -> None:
    assert form(header) == expected


def test_several_headers_are_one() -> None:
    assert form("text/html", f"{ARROW};q=0.1, {NPZ};q=0.2") == NPZ


@pytest.mark.parametrize("header", ["text/html", "application/json;q=0", "*/*;q=0", "json", ",;=", "*/json"])
def test_none_of_them(header: str) -> None:
    with pytest.raises(ServiceError) as caught:
        form(header)
    error = caught.value
    assert (error.type.name, error.where) == ("not_acceptable", "Accept")
    assert error.message == f'expected one of {", ".join(FORMS)}, got the string "{header}"'

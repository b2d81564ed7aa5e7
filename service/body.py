"""A request's body: parsed once in compiled code, and explained when it is wrong.

The bytes go straight into the request model (pydantic's JSON parser): a good request never exists as a tree
of Python objects. Only a bad one is parsed again, so that its error can name the place and show what stood
there.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.datastructures import Headers
from starlette.requests import Request

from service.errors import ErrorType, ServiceError

Model = TypeVar("Model", bound=BaseModel)

SHOWN_CHARACTERS = 40
"""How much of a wrong value an error repeats."""

MAX_EXPLAINED = 1000
"""A body with more mistakes is not explained: half a million unknown fields would take seconds."""


async def read_json(request: Request, model: type[Model]) -> Model:
    """Return the request's body as `model`. Raises ServiceError."""
    _check_media_type(request.headers)
    return parse_json(await request.body(), model)


async def read_document(request: Request) -> Any:
    """Return the request's body as JSON that is checked elsewhere. Raises ServiceError."""
    _check_media_type(request.headers)
    return parse_document(await request.body())


def parse_document(body: bytes) -> Any:
    """Return the JSON text `body`, whatever it is. Raises ServiceError."""
    document = _decode(body)
    if _ESCAPED_SURROGATE.search(body):
        _refuse_lone_surrogates(document)
    return document


def parse_json(body: bytes, model: type[Model]) -> Model:
    """Return the JSON text `body` as `model`. Raises ServiceError."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        num_problems = error.error_count()
    if num_problems > MAX_EXPLAINED:
        message = f"expected a request as /docs describes it, got one with {num_problems} mistakes"
        raise ServiceError(ErrorType.invalid_request, message)
    _explain(body, model)


def _check_media_type(headers: Headers) -> None:
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        came = media_type[:SHOWN_CHARACTERS] or "none"
        message = f"expected the header Content-Type: application/json, got {came}"
        raise ServiceError(ErrorType.unsupported_media_type, message)
    check_content_encoding(headers)


def check_content_encoding(headers: Headers) -> None:
    """Raise ServiceError for a body that is compressed."""
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise ServiceError(
            ErrorType.unsupported_media_type,
            f"expected a body without Content-Encoding, got {encoding[:SHOWN_CHARACTERS]}",
        )


def _explain(body: bytes, model: type[BaseModel]) -> NoReturn:
    """Raise what is wrong with a body that `model` has refused."""
    document = _decode(body)
    if _ESCAPED_SURROGATE.search(body):
        _refuse_lone_surrogates(document)
    try:
        model.model_validate(document)
    except ValidationError as error:
        raise _invalid(error.errors(include_url=False), document) from None
    # The compiled parser has limits of its own, which no request that makes sense comes near.
    raise ServiceError(ErrorType.malformed_body, "expected JSON that /docs describes, got another")


def _decode(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        came = f"byte 0x{body[error.start]:02x} at offset {error.start}"
        message = f"expected UTF-8, got {came}"
    except json.JSONDecodeError as error:
        reason = error.msg[0].lower() + error.msg[1:].removesuffix(" at")
        message = f"expected JSON, but: {reason} at line {error.lineno} column {error.colno}"
    except (ValueError, RecursionError):
        message = "expected JSON, got a number too long or lists too deep to read"
    raise ServiceError(ErrorType.malformed_body, message)


def _refuse_lone_surrogates(document: Any) -> None:
    for where, text in _strings(document):
        if _SURROGATE.search(text):
            message = "expected text, got a lone surrogate, which is half a character"
            raise ServiceError(ErrorType.invalid_request, message, where or None)


def _strings(document: Any) -> Iterator[tuple[str, str]]:
    """Yield every string of a JSON document, however deep, and its place; for a key, that of its object."""
    waiting = deque([("", document)])
    while waiting:
        where, here = waiting.popleft()
        if isinstance(here, str):
            yield where, here
        elif isinstance(here, list):
            waiting.extend((f"{where}[{i}]", item) for i, item in enumerate(here))
        elif isinstance(here, dict):
            waiting.extend((where, key) for key in here)
            waiting.extend((f"{where}.{key}".removeprefix("."), item) for key, item in here.items())


def _invalid(problems: Sequence[ErrorDetails], document: Any) -> ServiceError:
    """Return the error for the first field with a problem.

    Where a value may have one of several types, pydantic reports each of them: the one that fitted furthest
    counts, and those that failed at the same place are named together.
    """
    first = [problem for problem in problems if problem["loc"][:1] == problems[0]["loc"][:1]]
    deepest = max(first, key=lambda problem: len(problem["loc"]))
    where, came = _locate(deepest["loc"], document)
    match deepest["type"]:
        case "missing":
            where = f"{where}.{deepest['loc'][-1]}".removeprefix(".")
            message = "expected this field, got none"
        case "extra_forbidden":
            message = "expected no such field: its name is unknown"
        case _:
            together = [problem for problem in first if _locate(problem["loc"], document)[0] == where]
            message = f"expected {' or '.join(map(_expectation, together))}, got {show(came)}"
    return ServiceError(ErrorType.invalid_request, message, where or None)


def _locate(location: Sequence[int | str], document: Any) -> tuple[str, Any]:
    """Return a place as `inputs[2][0]`, and the value that stands there.

    Parts of `location` that lead nowhere in the document are pydantic's names for types, and left out.
    """
    where, here = "", document
    for part in location:
        if isinstance(part, int) and isinstance(here, list):
            where, here = f"{where}[{part}]", here[part]
        elif isinstance(part, str) and isinstance(here, dict) and part in here:
            where, here = f"{where}.{part[:SHOWN_CHARACTERS]}", here[part]
    return where.removeprefix("."), here


def _expectation(problem: ErrorDetails) -> str:
    """Return what should have stood there, in our words or else in pydantic's."""
    ours = _EXPECTED.get(problem["type"])
    return ours.format(**problem.get("ctx", {})) if ours else problem["msg"].removeprefix("Input should be ")


# JSON in UTF-8 can say half a character only by an escape, which two together make a whole one.
_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")

# pydantic's error types that these request models can meet.
_EXPECTED = {
    "model_type": "an object",
    "list_type": "a list",
    "string_type": "a string",
    "bool_type": "true or false",
    "none_required": "null",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than_equal": "a number of at least {ge:.0f}",
    "less_than_equal": "a number of at most {le:.0f}",
    "too_short": "a list of at least {min_length}",
    "literal_error": "{expected}",
}


def show(value: Any) -> str:
    """Return what came, short enough for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {json.dumps(value)[:SHOWN_CHARACTERS]}"
        case str() if len(value) > SHOWN_CHARACTERS:
            return f"a string of {len(value)} characters"
        case str():
            return f"the string {json.dumps(value, ensure_ascii=False)}"
        case list():
            return f"a list of {len(value)}"
    return "an object"

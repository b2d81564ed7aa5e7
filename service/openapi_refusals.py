"""What the layers around the routes (stack.py) may answer, for the OpenAPI document, and the header with
which a client sets a deadline; routes do not say these themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.auth import Access, needed
from service.error_formats import format_of
from service.errors import ErrorType, documented
from service.work import TIMEOUT_HEADER

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of the server's settings. A server without keys needs none; probes never do.",
}

DEADLINE = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "description": "Milliseconds from the request's arrival after which nobody wants its answer any more. It "
    "is then 504, and what has not been computed yet never will be. The server's own limit counts when it is "
    "the shorter.",
    "schema": {"type": "integer", "minimum": 1},
}


def add_refusals(document: dict[str, Any]) -> None:
    """Add keys, and to each operation the errors of the layers around it, and the deadline that it keeps."""
    document["components"]["securitySchemes"] = {"bearer": BEARER}
    document["security"] = [{"bearer": []}, {}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if needed(method.upper(), path) is Access.OPEN:
                operation["security"] = []
                continue
            types = list(_refusals(method.upper(), path, "requestBody" in operation))
            _add(operation["responses"], path, types)
            if str(ErrorType.deadline_exceeded.status) in operation["responses"]:
                operation.setdefault("parameters", []).append(DEADLINE)


def _refusals(method: str, path: str, has_body: bool) -> Iterator[ErrorType]:
    yield ErrorType.unauthorized
    if needed(method, path) is Access.ADMIN:
        yield ErrorType.forbidden
    if has_body:
        yield ErrorType.body_timeout
        yield ErrorType.body_too_large
    yield ErrorType.internal_error
    if path != "/metrics":  # answered to the end
        yield ErrorType.not_ready


def _add(responses: dict[str, Any], path: str, types: list[ErrorType]) -> None:
    """Add what a route has not named itself, and keep its statuses in order."""
    for type in types:
        ((number, added),) = documented(type, told=format_of(path)).items()
        status = str(number)
        if status not in responses:
            schema = {"$ref": f"#/components/schemas/{added['model'].__name__}"}
            content = {"application/json": {"schema": schema}}
            responses[status] = {"description": added["description"], "content": content}
        elif f"`{type.name}`" not in responses[status]["description"]:
            responses[status]["description"] += f"\n\n{added['description']}"
    in_order = sorted(responses.items())
    responses.clear()
    responses.update(in_order)

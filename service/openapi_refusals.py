"""What the layers around the routes (stack.py) may answer, for the OpenAPI document; routes do not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.auth import Access, needed
from service.error_formats import format_of
from service.errors import ErrorType, documented

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of the server's settings. A server without keys needs none; probes never do.",
}


def add_refusals(document: dict[str, Any]) -> None:
    """Add keys, and to each operation the errors of the layers around it."""
    document["components"]["securitySchemes"] = {"bearer": BEARER}
    document["security"] = [{"bearer": []}, {}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if needed(method.upper(), path) is Access.OPEN:
                operation["security"] = []
                continue
            types = list(_refusals(method.upper(), path, "requestBody" in operation))
            _add(operation["responses"], path, types)


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

"""The OpenAPI document: what FastAPI derives from the routes, and the request bodies that the routes read
themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.openapi_refusals import add_refusals
from service.settings import Settings

API_VERSION = "1"
"""Of the HTTP interface, not of the package: it changes when a client would have to."""

DESCRIPTION = """Contextual word vectors.

Every error reply has the same shape; its `error.type` is one of a fixed list, and each path names its own.
The paths of OpenAI's API and of TEI's say the same in the shape of those. On every path, what is no request
in HTTP/1.1 or repeats a header with another value gets 400 (`malformed_http`), too long a URL 414
(`url_too_long`), and headers that are too large 431 (`headers_too_large`).

This server takes at most {max_inputs:,} inputs in a request, {max_characters:,} characters in an input,
{queue_tokens:,} tokens and {max_body_bytes:,} bytes in all. More is refused with 413: nothing is ever cut.
"""

_REF = "#/components/schemas/{model}"


def description(settings: Settings) -> str:
    """Return the document's first words, which state the limits of this server."""
    return DESCRIPTION.format(**asdict(settings))


def operation_id(route: APIRoute) -> str:
    """Return the name that generated clients give to a route's function."""
    return route.name


def json_body(model: type[BaseModel], example: Any) -> dict[str, Any]:
    """Return the `openapi_extra` of a route whose body is `model` (see body.read_json)."""
    content = {"schema": {"$ref": _REF.format(model=model.__name__)}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def document_with(app: FastAPI, *bodies: type[BaseModel]) -> Callable[[], dict[str, Any]]:
    """Return an `app.openapi` that knows these request bodies. It is built at the first call."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            _leave_out_fastapis_own_error(document)
            add_refusals(document)
            for body in bodies:
                schema = body.model_json_schema(ref_template=_REF)
                schemas.update(schema.pop("$defs", {}))
                schemas[body.__name__] = schema
            document["components"]["schemas"] = dict(sorted(schemas.items()))
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def _leave_out_fastapis_own_error(document: dict[str, Any]) -> None:
    """Drop the 422 that FastAPI adds to every path with a part that varies: a string cannot be wrong."""
    own = {"$ref": _REF.format(model="HTTPValidationError")}
    for operations in document["paths"].values():
        for operation in operations.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if content.get("application/json", {}).get("schema") == own:
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)

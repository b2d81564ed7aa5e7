"""What the OpenAPI document says of the routes of tasks: examples, bodies of several kinds, errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from service.errors import ENGINE_ERRORS, ErrorType, documented
from service.ndjson import MEDIA_TYPE
from service.tasks.schemas import (
    ClassifyFit,
    ClassifyPredict,
    SenseFit,
    SensePredict,
    TagFit,
    TagPredict,
    TaskDocument,
)

FITS: dict[str, type[ClassifyFit | TagFit | SenseFit]] = {
    "classify": ClassifyFit,
    "tag": TagFit,
    "sense": SenseFit,
}
PREDICTS: dict[str, type[ClassifyPredict | TagPredict | SensePredict]] = {
    "classify": ClassifyPredict,
    "tag": TagPredict,
    "sense": SensePredict,
}
BODIES: tuple[type[BaseModel], ...] = (*FITS.values(), *PREDICTS.values(), TaskDocument)

FIT_EXAMPLE = {
    "kind": "sense",
    "examples": [
        {"text": "강에서 배를 탔다", "start": 4, "end": 5, "label": "boat"},
        {"text": "배가 고프다", "start": 0, "end": 1, "label": "belly"},
    ],
}
PREDICT_EXAMPLE = {"inputs": [{"text": "배가 떠났다", "start": 0, "end": 1}]}

NDJSON_PARAMETERS = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": f"Only for {MEDIA_TYPE}, whose lines are examples: the JSON body's `{name}`.",
    }
    for name in ("kind", "model")
]

READ_ERRORS = documented(
    ErrorType.task_not_found, ErrorType.store_unavailable, ErrorType.internal_error, ErrorType.not_ready
)
LIST_ERRORS = documented(ErrorType.store_unavailable, ErrorType.internal_error, ErrorType.not_ready)
PUT_ERRORS = documented(
    ErrorType.malformed_body,
    ErrorType.invalid_request,
    ErrorType.unknown_model,
    ErrorType.wrong_model,
    ErrorType.unsupported_media_type,
    ErrorType.body_too_large,
    ErrorType.store_unavailable,
    ErrorType.internal_error,
    ErrorType.not_ready,
)
FIT_ERRORS = documented(
    ErrorType.malformed_body,
    ErrorType.invalid_request,
    ErrorType.unknown_model,
    ErrorType.unsupported_media_type,
    ErrorType.fit_running,
    ErrorType.body_too_large,
    ErrorType.too_many_examples,
    ErrorType.input_too_long,
    ErrorType.too_many_fits,
    ErrorType.store_unavailable,
    ErrorType.internal_error,
    ErrorType.not_ready,
)
FIT_READ_ERRORS = documented(
    ErrorType.fit_not_found, ErrorType.store_unavailable, ErrorType.internal_error, ErrorType.not_ready
)
PREDICT_ERRORS = documented(
    *ENGINE_ERRORS,
    ErrorType.task_not_found,
    ErrorType.wrong_model,
    ErrorType.no_head,
    ErrorType.store_unavailable,
)


def one_of(models: dict[str, Any], example: Any, streamed: str | None = None) -> dict[str, Any]:
    """Return the `openapi_extra` of a route whose body is one of several models.

    streamed: what the lines of a streamed body are; None when the route takes none.
    """
    refs = [{"$ref": f"#/components/schemas/{model.__name__}"} for model in models.values()]
    content: dict[str, Any] = {"application/json": {"schema": {"oneOf": refs}, "example": example}}
    if streamed is None:
        return {"requestBody": {"required": True, "content": content}}
    content[MEDIA_TYPE] = {"schema": {"type": "string", "description": streamed}}
    return {"requestBody": {"required": True, "content": content}, "parameters": NDJSON_PARAMETERS}

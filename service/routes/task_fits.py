"""POST/GET/DELETE /v1/tasks/{name}/fit: learn a task from labelled examples, see how far it is, stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from model.tasks.task import KINDS, Kind
from service import ndjson
from service.body import check_content_encoding, parse_json, read_json, show
from service.engine.registry import Registry
from service.errors import ErrorType, ServiceError
from service.routes.tasks import JSON
from service.task_store.records import Fit
from service.tasks.documentation import FIT_ERRORS, FIT_EXAMPLE, FIT_READ_ERRORS, FITS, one_of
from service.tasks.entries import instant
from service.tasks.examples import Examples, Limits
from service.tasks.fit_jobs import FitJobs
from service.tasks.learned_tasks import LearnedTasks, path_name
from service.tasks.schemas import EXAMPLE_OF, Example, TaskFit

router = APIRouter(tags=["tasks"])

LINES = (
    "One example a line, with the fields of the JSON body's examples; `kind` and `model` in the query. For "
    "many examples: they are read as they arrive, and may be larger than other bodies."
)


class KindAlone(BaseModel):
    """What must be known of a body before it can be checked."""

    model_config = ConfigDict(strict=True, extra="ignore")

    kind: Kind


@router.post(
    "/v1/tasks/{name}/fit",
    name="fit",
    summary="Learn a task",
    response_model=None,
    status_code=202,
    responses={202: {"model": TaskFit}, **FIT_ERRORS},
    openapi_extra=one_of(FITS, FIT_EXAMPLE, LINES),
)
async def fit(request: Request, name: str) -> Response:
    """Begin to learn a layer mix and a head from examples; GET says how far it is, and why it has failed.

    What is learned takes the place of a task of this name when it is done, in every process; until then the
    old one stays. While others ask, learning takes a fifth of the machine.
    """
    registry: Registry = request.app.state.registry
    tasks: LearnedTasks = request.app.state.tasks
    jobs: FitJobs = request.app.state.fits
    kept_name = path_name(name)
    jobs.check_room()
    settings = registry.settings
    limits = Limits(settings.max_characters, settings.max_fit_examples, settings.max_fit_labels)
    model, examples = await (_streamed if ndjson.is_ndjson(request) else _whole)(request, limits)
    embedder = registry.embedder(model)
    examples.check()
    await jobs.start(kept_name, embedder, examples)
    return _reply(await tasks.fit(kept_name), 202)


@router.get(
    "/v1/tasks/{name}/fit",
    name="fit_progress",
    summary="How far is a fit?",
    response_model=None,
    responses={200: {"model": TaskFit}, **FIT_READ_ERRORS},
)
async def get_fit(request: Request, name: str) -> Response:
    """Return the last fit of this name, whichever process runs it."""
    tasks: LearnedTasks = request.app.state.tasks
    return _reply(await tasks.fit(name), 200)


@router.delete(
    "/v1/tasks/{name}/fit",
    name="cancel_fit",
    summary="Cancel a fit",
    response_model=None,
    status_code=202,
    responses={202: {"model": TaskFit}, **FIT_READ_ERRORS},
)
async def cancel_fit(request: Request, name: str) -> Response:
    """Ask a fit to stop, whichever process runs it: from now on it cannot change the task, and it ends within
    seconds."""
    tasks: LearnedTasks = request.app.state.tasks
    return _reply(await tasks.cancel_fit(name), 202)


async def _whole(request: Request, limits: Limits) -> tuple[str | None, Examples]:
    kind = (await read_json(request, KindAlone)).kind
    body = parse_json(await request.body(), FITS[kind])
    examples = Examples(kind, limits)
    given: Sequence[Example] = body.examples
    for i, example in enumerate(given):
        examples.add(example, f"examples[{i}]")
    return body.model, examples


async def _streamed(request: Request, limits: Limits) -> tuple[str | None, Examples]:
    check_content_encoding(request.headers)
    given = request.query_params.get("kind")
    if given not in KINDS:
        message = f"expected the query ?kind={' or '.join(KINDS)}, got {show(given) if given else 'none'}"
        raise ServiceError(ErrorType.invalid_request, message, "kind")
    kind = KINDS[KINDS.index(given)]
    examples = Examples(kind, limits)
    example: Example
    async for number, line in ndjson.lines(request):
        try:
            example = parse_json(line, EXAMPLE_OF[kind])
        except ServiceError as error:
            where = ".".join(part for part in (f"line {number}", error.where) if part)
            raise ServiceError(error.type, error.message, where) from None
        examples.add(example, f"line {number}")
    return request.query_params.get("model"), examples


def _reply(fit: Fit, status: int) -> Response:
    document: dict[str, Any] = {
        "name": fit.name,
        "state": fit.state.value,
        "progress": round(fit.progress, 4),
        "message": fit.message,
        "num_examples": fit.num_examples,
        "cancel_requested": fit.cancel_requested,
        "started_at": instant(fit.started_at),
        "ended_at": None if fit.ended_at is None else instant(fit.ended_at),
    }
    return Response(orjson.dumps(document), status, media_type=JSON)

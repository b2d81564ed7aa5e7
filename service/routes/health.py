"""Probes for whoever runs the server: is it alive, is it ready for work."""

from __future__ import annotations

from fastapi import APIRouter, Request

from service.engine.registry import Registry
from service.errors import ErrorType, ServiceError, documented
from service.schemas import Status

PROBES = frozenset({"/livez", "/readyz", "/health"})

router = APIRouter(tags=["health"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Status:
    """Answer as long as the process can answer at all; a restart helps when it does not."""
    return Status(status="alive")


# The decorator nearest to the function is listed first.
@router.get(
    "/health", name="health", summary="The same as /readyz", responses=documented(ErrorType.not_ready)
)
@router.get("/readyz", summary="Can it take requests?", responses=documented(ErrorType.not_ready))
async def readyz(request: Request) -> Status:
    """Answer 200 when every model is loaded and its engine takes work; otherwise send requests elsewhere."""
    registry: Registry = request.app.state.registry
    trouble = "the server is stopping" if request.app.state.drain.has_begun else registry.trouble
    if trouble is not None:
        raise ServiceError(ErrorType.not_ready, trouble)
    return Status(status="ready")

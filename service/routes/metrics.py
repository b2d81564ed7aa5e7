"""GET /metrics, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response

from service.resident import resident_bytes

router = APIRouter(tags=["health"])

REFRESH_S = 1.0


@router.get(
    "/metrics",
    summary="Metrics, for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return the metrics of this process, or of all workers together."""
    present(request.app)
    accept = request.headers.get("accept", "")
    # Reading the files of many workers takes some milliseconds, which no other request should wait for.
    content, media_type = await asyncio.to_thread(request.app.state.metrics.exposition, accept)
    return Response(content, headers={"Content-Type": media_type})


@asynccontextmanager
async def kept_present(app: FastAPI) -> AsyncIterator[None]:
    """Renew what is true of this process, because any worker may be asked about all of them."""

    async def renew() -> None:
        while True:
            present(app)
            await asyncio.sleep(REFRESH_S)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


def present(app: FastAPI) -> None:
    registry = app.state.registry
    drain = app.state.drain
    app.state.metrics.present(
        is_ready=registry.is_ready and not drain.has_begun,
        in_flight=drain.num_in_flight,
        fits=app.state.fits.num_running,
        held_bytes=registry.memory.held_bytes,
        resident_bytes=resident_bytes(),
        queue_tokens=[(embedder.name, embedder.queue_depth) for embedder in registry.embedders],
    )

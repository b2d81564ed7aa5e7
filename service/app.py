"""The application: its parts put together, and the bundles loaded for as long as it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service import docs
from service.backend import open_backend
from service.body import BodyLimit
from service.errors import add_error_handlers
from service.openapi import API_VERSION, description, document_with, operation_id
from service.registry import OpenBackend, Registry
from service.routes import embed, health
from service.schemas import EmbedRequest
from service.settings import Settings


def create_app(settings: Settings, open_backend: OpenBackend = open_backend) -> FastAPI:
    """Return the application. Its lifespan loads the bundles; BundleError when one cannot be served."""
    registry = Registry(settings, open_backend)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            registry.open()
            yield
        finally:
            registry.close()

    app = FastAPI(
        title="Polyseme",
        version=API_VERSION,
        description=description(settings),
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # FastAPI's own telemetry would put request bodies and stack traces into its records.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.registry = registry
    app.openapi = document_with(app, EmbedRequest)  # type: ignore[method-assign]
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    add_error_handlers(app)  # adds the outermost layer, so it comes last
    app.include_router(embed.router)
    app.include_router(health.router)
    docs.add_docs(app)
    return app

"""The application: its parts put together, and the bundles loaded for as long as it runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from service import pages
from service.draining import Drain
from service.engine.backend import open_backend
from service.engine.registry import OpenBackend, Registry
from service.errors import add_error_handlers
from service.language_model_schemas import ClozeRequest, ScoreRequest
from service.logs import log_exchange
from service.metrics import Metrics
from service.mixes import MixStore
from service.openai_schemas import OpenAIEmbeddingsRequest
from service.openapi import API_VERSION, description, document_with, operation_id
from service.routes import embed, health, language_model, metrics, openai, task_fits, tasks, tei
from service.schemas import EmbedRequest
from service.settings import Settings
from service.stack import layers
from service.task_store.store import TaskStore
from service.task_store.target import store_target
from service.tasks.documentation import BODIES
from service.tasks.fit_jobs import FitJobs
from service.tasks.learned_tasks import LearnedTasks
from service.tei_schemas import (
    TEIEmbedAllRequest,
    TEIEmbedRequest,
    TEISimilarityRequest,
    TEITokenizeRequest,
)
from service.version import package_version


def create_app(
    settings: Settings,
    open_backend: OpenBackend = open_backend,
    mix_store: MixStore | None = None,
    traces: Sequence[Middleware] = (),
) -> FastAPI:
    """Return the application. Its lifespan loads the bundles; BundleError when one cannot be served.

    traces: what tracing.traces gives.
    """
    measured, drain = Metrics(), Drain()
    registry = Registry(settings, open_backend, measured.engine)
    # Nothing is opened before the first request that names a task.
    store = TaskStore(store_target(settings.tasks_path, settings.database_url, os.environ))
    learned = LearnedTasks(store)
    fits = FitJobs(learned, registry, lambda: drain.has_begun)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            registry.open()
            measured.describe(
                package_version(), [(e.name, e.sha256, e.dimension) for e in registry.embedders]
            )
            async with metrics.kept_present(app):
                yield
        finally:
            await fits.close()
            store.close()
            registry.close()

    app = FastAPI(
        title="Polyseme",
        version=API_VERSION,
        description=description(settings),
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        middleware=layers(settings, drain, [log_exchange, measured.finished], traces),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would not be JSON, and would repeat the client's Host
        # FastAPI's own telemetry would put request bodies and stack traces into its records.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.registry, app.state.drain, app.state.metrics = registry, drain, measured
    app.state.tasks, app.state.fits = learned, fits
    app.state.mix_store = mix_store or learned
    app.openapi = document_with(  # type: ignore[method-assign]
        app,
        EmbedRequest,
        OpenAIEmbeddingsRequest,
        TEIEmbedRequest,
        TEIEmbedAllRequest,
        TEITokenizeRequest,
        TEISimilarityRequest,
        ScoreRequest,
        ClozeRequest,
        *BODIES,
    )
    add_error_handlers(app)
    app.include_router(embed.router)
    app.include_router(openai.router)
    app.include_router(tei.router)
    app.include_router(language_model.router)
    app.include_router(tasks.router)
    app.include_router(task_fits.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    pages.add_pages(app)
    return app

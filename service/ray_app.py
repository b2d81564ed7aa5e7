"""The same application on Ray Serve: as many replicas as its load needs, on as many machines as Ray has.

`serve run service.ray_app:app` starts it, and deploy/ray.yaml is a configuration for `serve deploy`. Ray's
proxy listens and holds the clients' connections, Ray starts and replaces the replicas; each has its own model
and queue, and refuses by itself. They share nothing but learned tasks, in PostgreSQL.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.bundle import Bundle
from service import logs, ray_scaling
from service.app import create_app
from service.declaration import convert, declare
from service.engine.backend import open_backend
from service.engine.registry import OpenBackend
from service.errors import outline
from service.exchange import REQUEST_ID
from service.ray_metrics import OfAllReplicas
from service.routes.metrics import present
from service.server import END_MARGIN_S
from service.settings import Settings, SettingsError, read_settings
from service.tracing import traces

if TYPE_CHECKING:
    from ray.serve import Application

logger = logging.getLogger("polyseme")

NAME = "polyseme"
"""Of the deployment, for those who look at Ray's dashboard or override its options."""

NOT_OF_A_REPLICA = ("host", "port", "workers", "write_timeout_s", "keep_alive_s")
"""Settings of who listens and of how many processes there are. As variables, which may be the container's for
whatever runs in it, they say nothing here."""

MAX_ONGOING_REQUESTS = 10_000
"""That Ray gives to one replica at a time. More than its queue can hold: it is the application that refuses,
with 429 and `Retry-After`. Ray would let requests wait, without a bound, where nobody counts their tokens."""


SCRAPE_S = 5.0
"""A replica that does not say its metrics in this time is left out."""


@dataclass(frozen=True)
class Scaling:
    """How many replicas there are; arguments of `serve run`, beside the settings."""

    min_replicas: int = declare(1, "Fewest replicas.", least=1)
    max_replicas: int = declare(4, "Most replicas.", least=1)
    queued_tokens: int = declare(2048, "Tokens that may wait in each replica before another starts.", least=1)
    upscale_delay_s: int = declare(30, "Seconds of too long a queue before another replica starts.")
    downscale_delay_s: int = declare(600, "Seconds of too short a queue before a replica ends.")


def app(arguments: dict[str, Any]) -> Application:
    """Return the application of `serve run service.ray_app:app NAME=VALUE ...`.

    arguments: settings and those of `Scaling`; they win over POLYSEME_ variables. Raises SettingsError.
    """
    settings, scaling = read_arguments(os.environ, arguments)
    try:
        from ray import serve
        from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
    except ImportError as error:
        raise SettingsError("Ray Serve needs the extra cluster: pip install 'polyseme[cluster]'") from error

    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=f"{ray_scaling.__name__}:{ray_scaling.QueuedTokens.__name__}",
        policy_kwargs={"target": scaling.queued_tokens},
    )
    deployed = serve.deployment(
        name=NAME,
        ray_actor_options={"num_cpus": settings.threads or 1},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        autoscaling_config=AutoscalingConfig(
            min_replicas=scaling.min_replicas,
            max_replicas=scaling.max_replicas,
            upscale_delay_s=scaling.upscale_delay_s,
            downscale_delay_s=scaling.downscale_delay_s,
            policy=policy,
        ),
        logging_config={"enable_access_log": False},  # ours has a line for each request
        # A batch that hangs costs its own requests, and after hang_ms the engine's thread; what then still
        # hangs, three times in a row, costs the replica.
        health_check_period_s=max(1.0, settings.hang_ms / 2000),
        health_check_timeout_s=max(1.0, settings.hang_ms / 1000),
        graceful_shutdown_timeout_s=settings.drain_s + END_MARGIN_S,
    )
    return deployed(serve.ingress()(Replica)).bind(settings)


def read_arguments(environment: Mapping[str, str], arguments: Mapping[str, Any]) -> tuple[Settings, Scaling]:
    """Return what the arguments and the variables give. Raises SettingsError with one line."""
    texts = {name: str(value) for name, value in arguments.items()}
    names = [setting.name for setting in fields(Settings)]
    of_scaling = {setting.name: setting for setting in fields(Scaling)}
    for name in texts:
        if name not in names and name not in of_scaling:
            raise SettingsError(f"{name}: expected a setting or one of {', '.join(of_scaling)}")
        if name in NOT_OF_A_REPLICA:
            raise SettingsError(
                f"{name}: expected none on Ray Serve, whose proxy holds the connections and which starts the "
                f"replicas; got {texts[name]!r}"
            )
    settings = read_settings(environment, {name: texts.get(name) for name in names})
    given = {name: convert(of_scaling[name], texts[name], name) for name in of_scaling.keys() & texts.keys()}
    scaling = Scaling(**given)
    if scaling.max_replicas < scaling.min_replicas:
        raise SettingsError(
            f"max_replicas: expected at least {scaling.min_replicas}, as min_replicas is, "
            f"got {scaling.max_replicas}"
        )
    return settings, scaling


class Replica:
    """What runs in each of Ray's processes. `serve.ingress` makes a deployment of it."""

    def __init__(self, settings: Settings, open_backend: OpenBackend = open_backend) -> None:
        """Raises BundleError, so that Ray can say what is wrong."""
        for folder in settings.bundle:
            Bundle.open(folder)
        logs.set_up(settings)
        self._settings = settings
        self._open_backend = open_backend
        self._busy_since_s = time.monotonic()
        self._busy_before_s = 0.0

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application, which Ray runs with its lifespan and keeps."""
        ending = ExitStack()
        settings = replace(self._settings, threads=self._settings.threads or num_cpus())
        self._app = create_app(settings, self._open_backend, traces=ending.enter_context(traces(os.environ)))
        self._app.add_middleware(BehindProxy)
        loaded = self._app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            with ending:
                async with loaded(app):
                    yield

        self._app.router.lifespan_context = lifespan
        self._metrics = self._app.state.metrics
        self._app.state.metrics = OfAllReplicas(self._metrics, pages_of_all)
        return self._app

    async def metrics_page(self) -> tuple[str, str]:
        """Return this replica's name and its own metrics."""
        present(self._app)
        return replica_name(), self._metrics.exposition("")[0].decode()

    async def check_health(self) -> None:
        """Raise when the engine is lost or hangs. Ray replaces a replica that raises three times in a row."""
        if (trouble := self._app.state.registry.trouble) is not None:
            raise RuntimeError(trouble)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what ray_scaling.QueuedTokens decides by."""
        now_s, compute_s = time.monotonic(), self._metrics.compute_s
        busy = (compute_s - self._busy_before_s) / (now_s - self._busy_since_s)
        self._busy_since_s, self._busy_before_s = now_s, compute_s
        queued = sum(embedder.queue_depth for embedder in self._app.state.registry.embedders)
        return {ray_scaling.QUEUED_TOKENS: queued, ray_scaling.BUSY: busy}


def pages_of_all() -> dict[str, str]:
    """Return the metrics of each replica that answers, by its name. Not for the event loop, which it would
    hold up."""
    from ray import serve

    handle = serve.get_deployment_handle(NAME, serve.get_replica_context().app_name)
    answers = handle.broadcast("metrics_page").results(timeout_s=SCRAPE_S, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, Exception):  # its process has just ended, or stands still
            logger.warning("/metrics lacks a replica: %s", outline(answer))
    return dict(answer for answer in answers if not isinstance(answer, Exception))


def replica_name() -> str:
    """Return what Ray calls this replica."""
    from ray import serve

    return str(serve.get_replica_context().replica_id.unique_id)


def num_cpus() -> int:
    """Return how many CPUs Ray has given to this replica, at least 1; Ray itself binds nobody to them."""
    import ray

    assigned = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return max(1, int(assigned.get("CPU", 0)))


class BehindProxy:
    """ASGI middleware, the outermost: what Ray does otherwise than our own server.

    The application's lifespan comes as a call too, which the layers that know only requests must not see. And
    Ray's proxy adds X-Request-Id to the reply: the one that it has sent along, so ours is left out.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)[REQUEST_ID]
            await send(message)

        if scope["type"] == "lifespan":
            await scope["app"].router(scope, receive, send)
        else:
            await self.app(scope, receive, send_without_id)

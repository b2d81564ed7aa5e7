"""One server process: bundles loaded, the port bound, requests served until a signal, then an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from service.app import create_app
from service.registry import Registry
from service.settings import Settings

logger = logging.getLogger("polyseme")

BACKLOG = 2048
"""Connections that wait to be accepted; the kernel's own limit (net.core.somaxconn) may be lower."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises BundleError, or OSError when the port cannot be bound."""
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # uvicorn's own lines say nothing that ours do not, and those about a request hold what its client sent.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",  # the lines below do it, with errors that can be caught
        server_header=False,
        timeout_graceful_shutdown=settings.drain_s,
    )
    server = Server(config)
    server.stop_on_signals()  # from the first moment: whoever reads that it serves may ask it to stop
    async with app.router.lifespan_context(app):
        with bind(settings.host, settings.port) as listening:
            _announce(app.state.registry, listening)
            await server.serve(sockets=[listening])
    logger.info("stopped")


class Server(uvicorn.Server):
    """uvicorn, but a signal only asks it to stop; uvicorn would raise it again, and skip what comes after."""

    def stop_on_signals(self) -> None:
        """Let SIGINT and SIGTERM end `serve` in order, now or as soon as it begins."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # stop_on_signals has taken them over


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError whose text names the address."""
    try:
        is_ipv6 = ":" in host
        listening = socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6(),
            backlog=BACKLOG,
        )
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # the address, which follows here
        raise OSError(error.errno, f"cannot listen on {host} port {port}: {reason}") from error
    # Connections inherit it. asyncio sets it only on sockets that it has made itself; without it a reply of a
    # few kB waits for the client's delayed acknowledgement: 50 ms instead of 10.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _announce(registry: Registry, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    logger.info(
        "serving %s on http://%s:%d with %d compute threads",
        ", ".join(registry.names),
        address,
        port,
        registry.num_threads,
    )

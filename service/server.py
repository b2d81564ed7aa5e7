"""One server process: bundles loaded, requests served until it is told to stop, then an orderly end.

Stopping: the server turns unready and takes no new work, finishes what it has begun (at most `drain_s`, then
it is cut off), closes its connections and ends. A second signal cuts everything off at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service import ending, logs
from service.app import create_app
from service.connections import ConnectionConfig
from service.draining import Drain
from service.engine.registry import Registry
from service.settings import Settings
from service.tracing import traces

logger = logging.getLogger("polyseme")

BACKLOG = 2048
"""Connections that wait to be accepted; the kernel's own limit (net.core.somaxconn) may be lower."""

END_MARGIN_S = 2.0
"""After `drain_s` a process takes at most this long to end; one whose engine hangs is ended by force then."""

MAX_FILES = 65_536


def serve(settings: Settings) -> None:
    """Serve in this process until a signal (ending.py).

    Raises BundleError, or OSError when the port cannot be bound.
    """
    logs.set_up(settings)
    allow_many_connections()
    asyncio.run(_serve(settings))
    logger.info("stopped")


async def _serve(settings: Settings) -> None:
    with forced_end(settings) as on_stop, traces(os.environ) as layers:
        app = create_app(settings, traces=layers)
        server = Server(app, settings, on_stop)
        async with app.router.lifespan_context(app):
            # Whoever reads that it serves may ask it to stop; while it loads there is nothing to finish.
            with server.stopping_on_signals(), bind(settings.host, settings.port) as listening:
                registry: Registry = app.state.registry
                announce(registry.names, listening, f"with {registry.num_threads} compute threads")
                await server.serve(sockets=[listening])


class Server(uvicorn.Server):
    """uvicorn, but told to stop it first takes no new work and finishes what it has."""

    def __init__(self, app: FastAPI, settings: Settings, on_stop: Callable[[], None] = lambda: None) -> None:
        """on_stop: called once, when it begins to stop."""
        config = ConnectionConfig(
            app,
            write_timeout_s=settings.write_timeout_s,
            on_unread=app.state.metrics.unread,
            timeout_keep_alive=settings.keep_alive_s,
            log_config=None,
            access_log=False,
            lifespan="off",  # whoever runs the server does it, with errors that can be caught
            server_header=False,
            ws="none",
            backlog=1,  # how many connections asyncio accepts at a time: workers are to take turns
        )
        super().__init__(config)
        self._drain: Drain = app.state.drain
        self._drain_s = settings.drain_s
        self._on_stop = on_stop
        self._stopping: asyncio.Task[None] | None = None

    @contextmanager
    def stopping_on_signals(self) -> Iterator[None]:
        """Let a signal end `serve` in order, now or as soon as it begins; a second one at once."""
        loop = asyncio.get_running_loop()
        was_asked = False

        def on_signal() -> None:
            nonlocal was_asked
            if was_asked:
                cut_off("a second signal came")
            was_asked = True
            loop.call_soon_threadsafe(self.stop)

        with ending.taken_over(on_signal):
            yield

    def stop(self) -> None:
        """Begin to end in order; asked for again, it changes nothing."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def _stop(self) -> None:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + self._drain_s
        self._on_stop()
        self._drain.begin()
        logger.info("stopping; %d requests in flight", self._drain.num_in_flight)
        try:
            async with asyncio.timeout_at(end_s):
                await self._drain.idle()
        except TimeoutError:
            logger.warning("%d requests are cut off after %d s", self._drain.num_in_flight, self._drain_s)
            self._drain.cut()
        # What is left of the time is for replies that their readers have not yet taken.
        self.config.timeout_graceful_shutdown = max(0.0, end_s - loop.time())  # type: ignore[assignment]
        self.should_exit = True

    async def startup(self, sockets: Sequence[socket.socket] | None = None) -> None:
        await super().startup(None if sockets is None else list(sockets))
        for listening in sockets or ():
            listening.listen(BACKLOG)  # asyncio has set its own

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are taken over (ending.py); uvicorn would raise them again, and skip what follows


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises OSError whose text names the address."""
    try:
        families = {each[0] for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        is_ipv6 = socket.AF_INET not in families  # of a name with both, the one that most clients take
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


def announce(names: Sequence[str], listening: socket.socket, how: str) -> None:
    """Say in the log what is served where; whoever started the server may now send requests."""
    host, port = listening.getsockname()[:2]
    address = f"[{host}]" if ":" in host else host
    logger.info("serving %s on http://%s:%d %s", ", ".join(names), address, port, how)


def allow_many_connections() -> None:
    """Raise this process's limit of open files, and with it of connections, as far as it may itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def cut_off(reason: str) -> None:
    """End this process at once, whatever its threads do."""
    logger.warning("cut off: %s", reason)
    os._exit(0)


@contextmanager
def forced_end(settings: Settings) -> Iterator[Callable[[], None]]:
    """Yield what is to be called when the end begins: the process is cut off when the block then takes too
    long, because an engine hangs or a collector of traces does not answer."""
    timer = threading.Timer(settings.drain_s + END_MARGIN_S, cut_off, ["it did not end in time"])
    timer.daemon = True  # it must not itself keep the process
    try:
        yield timer.start
    finally:
        timer.cancel()

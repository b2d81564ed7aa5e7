"""One of several server processes, and what it tells its parent (workers.py): that it is ready, or why it
cannot start, and from then on that it is alive."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection

from fastapi import FastAPI

from model.bundle import BundleError
from service import logs
from service.app import create_app
from service.metrics import FOLDER_VARIABLE
from service.refusal import EXIT_REFUSED, one_line
from service.server import Server, forced_end
from service.settings import Settings
from service.tracing import traces

HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class Ready:
    """A worker's first word, when all is well."""

    names: list[str]  # of its models
    num_threads: int


def work(settings: Settings, listening: socket.socket, pipe: Connection) -> None:
    """Be a worker. Its last word is why it cannot start, if so."""
    # SIGINT and SIGHUP are blocked: a terminal sends them to every process, and only the parent decides.
    logs.set_up(settings)
    try:
        asyncio.run(_work(settings, listening, pipe))
    except (BundleError, OSError) as error:
        pipe.send(one_line(error))
        sys.exit(EXIT_REFUSED)


async def _work(settings: Settings, listening: socket.socket, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    with forced_end(settings) as on_stop, traces(os.environ) as layers:
        app = create_app(settings, traces=layers)
        server = Server(app, settings, on_stop)
        loop.add_signal_handler(signal.SIGTERM, server.stop)  # a second one changes nothing
        await _serve(app, server, listening, pipe)


async def _serve(app: FastAPI, server: Server, listening: socket.socket, pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    async with app.router.lifespan_context(app):
        pipe.send(Ready(app.state.registry.names, app.state.registry.num_threads))

        def parent_is_gone() -> None:  # it says nothing: there is something to read when the pipe is broken
            loop.remove_reader(pipe.fileno())
            server.stop()
            # Nobody else is left to do it; what is written there already is in memory.
            shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)

        loop.add_reader(pipe.fileno(), parent_is_gone)
        heartbeat = loop.create_task(_heartbeat(pipe))
        await server.serve(sockets=[listening])
        heartbeat.cancel()


async def _heartbeat(pipe: Connection) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        try:
            pipe.send(None)
        except OSError:  # the parent is gone
            return

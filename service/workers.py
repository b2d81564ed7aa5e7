"""Several processes that share one port: started together, watched, replaced when lost, ended together.

The parent holds the listening socket, so that no connection that waits is lost with a worker; it serves
nothing itself. Each worker holds one end of a pipe: it says over it that it is ready and then, every second,
that it is alive; when the parent is lost, the pipe breaks and the worker ends in order.

uvicorn's own supervisor is not used: it has no word for "all are ready", waits for ever for a worker that
does not end, and starts a worker that cannot start over and over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker

from prometheus_client.multiprocess import mark_process_dead

from model.bundle import Bundle
from service import ending, logs
from service.metrics import FOLDER_VARIABLE
from service.server import END_MARGIN_S, allow_many_connections, announce, bind
from service.settings import Settings
from service.worker import HEARTBEAT_S, Ready, work

logger = logging.getLogger("polyseme")

SILENT_S = 10.0
"""A worker that has said nothing for so long is lost: its event loop stands still."""

MAX_WAIT_S = 60.0
"""Between two attempts to start a worker that does not start."""

_spawn = get_context("spawn")  # a fork would copy the threads' locks, but not the threads


class WorkersError(Exception):
    """The workers cannot start, or none is left; one line."""


def serve_with_workers(settings: Settings) -> None:
    """Serve in `settings.workers` processes until a signal (ending.py).

    Raises BundleError or OSError before any has started, WorkersError when one then cannot start.
    """
    logs.set_up(settings)
    allow_many_connections()
    for folder in settings.bundle:
        Bundle.open(folder)  # hashes and all, so that a broken one is refused once, and here
    asyncio.run(_supervise(settings))
    logger.info("stopped")


async def _supervise(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    stop_asked = asyncio.Event()  # a signal may come before there is anybody to be stopped
    supervisor: _Supervisor | None = None

    def on_signal() -> None:
        if stop_asked.is_set() and supervisor is not None:
            supervisor.cut_off()
        stop_asked.set()

    with (
        ending.taken_over(lambda: loop.call_soon_threadsafe(on_signal)),
        _metrics_folder(),
        bind(settings.host, settings.port) as listening,
    ):
        supervisor = _Supervisor(settings, listening, stop_asked)
        await supervisor.run()


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """Make the folder in which workers keep their metrics, for as long as they run."""
    before = os.environ.get(FOLDER_VARIABLE)
    folder = tempfile.mkdtemp(prefix="polyseme-metrics-", dir=before)
    os.environ[FOLDER_VARIABLE] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ[FOLDER_VARIABLE]
        else:
            os.environ[FOLDER_VARIABLE] = before


@contextmanager
def _no_terminal() -> Iterator[None]:
    """Start a process that a terminal's signals cannot end: they reach all, and only the parent decides. A
    process that still loads could not say so itself; it inherits what is blocked here."""
    resource_tracker.ensure_running()  # or it would be started now, and unblock what is blocked
    numbers = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, as its parent sees it."""

    def __init__(self, settings: Settings, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=work, args=(settings, listening, theirs))
        with _no_terminal():
            self._process.start()
        theirs.close()
        self.ended = asyncio.Event()
        self.ready: asyncio.Future[Ready | str] = loop.create_future()  # or why it cannot start
        self._heard_s = loop.time()
        loop.add_reader(self._pipe.fileno(), self._read)
        loop.add_reader(self._process.sentinel, self._on_end)

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def is_serving(self) -> bool:
        """Whether it has started well and not ended."""
        return not self.ended.is_set() and self.ready.done() and not isinstance(self.ready.result(), str)

    @property
    def is_silent(self) -> bool:
        """Whether it serves, but its event loop stands still."""
        return self.is_serving and asyncio.get_running_loop().time() - self._heard_s > SILENT_S

    @property
    def how_it_ended(self) -> str:
        code = self._process.exitcode
        assert code is not None
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def stop(self) -> None:
        """Ask it to end in order."""
        if not self.ended.is_set():
            self._process.terminate()

    def kill(self) -> None:
        if not self.ended.is_set():
            self._process.kill()

    def _read(self) -> bool:
        """Take in one message; return False when there will never be another."""
        loop = asyncio.get_running_loop()
        try:
            message = self._pipe.recv()
        except (EOFError, OSError):
            loop.remove_reader(self._pipe.fileno())
            return False
        self._heard_s = loop.time()
        if not self.ready.done():
            self.ready.set_result(message)
        return True

    def _on_end(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._process.sentinel)
        self._process.join()
        while not self.ready.done() and self._read():  # its last word may not have been read yet
            pass
        if not self.ready.done():
            self.ready.set_result(f"a worker {self.how_it_ended} before it was ready")
        loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        # Its counters stay part of the sums; what it measured at the moment does not.
        mark_process_dead(self.pid, os.environ[FOLDER_VARIABLE])  # type: ignore[no-untyped-call]
        self.ended.set()


class _Supervisor:
    """The parent's loop."""

    def __init__(self, settings: Settings, listening: socket.socket, stop_asked: asyncio.Event) -> None:
        self._settings = settings
        self._listening = listening
        self._workers: list[_Worker] = []
        self._stop_asked = stop_asked

    async def run(self) -> None:
        """Serve until a stop is asked for. Raises WorkersError."""
        loop = asyncio.get_running_loop()
        self._workers = [_Worker(self._settings, self._listening) for _ in range(self._settings.workers)]
        keeping = loop.create_task(self._keep_all())
        stopping = loop.create_task(self._stop_asked.wait())
        await asyncio.wait({keeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        keeping.cancel()
        stopping.cancel()
        await self._end()
        (failure,) = await asyncio.gather(keeping, return_exceptions=True)
        if failure is not None and not isinstance(failure, asyncio.CancelledError):
            raise failure

    def cut_off(self) -> None:
        """End every worker at once."""
        logger.warning("cut off: a second signal came")
        for worker in self._workers:
            worker.kill()

    async def _keep_all(self) -> None:
        """Wait until all are ready, say so, and replace those that are lost. Raises WorkersError."""
        outcomes = await asyncio.gather(*(worker.ready for worker in self._workers))
        if refusals := [outcome for outcome in outcomes if isinstance(outcome, str)]:
            raise WorkersError(refusals[0])
        (first, *_) = (outcome for outcome in outcomes if isinstance(outcome, Ready))
        how = f"with {first.num_threads} compute threads in each of {len(outcomes)} workers"
        announce(first.names, self._listening, how)
        await asyncio.gather(self._watch(), *(self._keep(i) for i in range(len(self._workers))))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for worker in self._workers:
                if worker.is_silent:
                    logger.error("worker %d is silent and gets killed", worker.pid)
                    worker.kill()

    async def _keep(self, i: int) -> None:
        """Replace this worker whenever it has ended. Raises WorkersError when it was the last."""
        while True:
            worker = self._workers[i]
            await worker.ended.wait()
            logger.error("worker %d %s; another takes its place", worker.pid, worker.how_it_ended)
            wait_s = HEARTBEAT_S
            while isinstance(trouble := await self._start(i), str):
                if not any(worker.is_serving for worker in self._workers):
                    raise WorkersError(f"no worker is left, and none can start: {trouble}")
                logger.error("a worker cannot start, the next attempt is in %d s: %s", wait_s, trouble)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, MAX_WAIT_S)
            logger.info("worker %d serves", self._workers[i].pid)

    async def _start(self, i: int) -> Ready | str:
        self._workers[i] = _Worker(self._settings, self._listening)
        return await self._workers[i].ready

    async def _end(self) -> None:
        """End every worker: in order, and by force those that take too long."""
        self._listening.close()  # theirs stay open, until each has finished
        for worker in self._workers:
            worker.stop()
        all_ended = asyncio.gather(*(worker.ended.wait() for worker in self._workers))
        try:
            await asyncio.wait_for(asyncio.shield(all_ended), self._settings.drain_s + END_MARGIN_S + 1)
        except TimeoutError:
            logger.error("workers that did not end in time are killed")
            for worker in self._workers:
                worker.kill()
            await all_ended

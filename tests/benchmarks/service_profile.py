"""What Python itself takes of a request, beside the model: the CPU time of each thread, and the functions in it.

The server runs in this process, with a network that computes nothing: what its engine's thread takes then is
all that is not the model. A thread's CPU time does not depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.files import Precision
from service.app import create_app
from service.engine.backend import Backend, Floats, Integers, RuntimeLike, open_backend
from service.server import Server, bind
from service.settings import Settings
from tests.benchmarks.load import Call, Client

NUM_REQUESTS = 200
NUM_FUNCTIONS = 8

ROLES = {"polyseme-loop": "event loop", "polyseme-worker": "worker", "polyseme-enko": "engine"}
"""By the beginning of a thread's name."""


class NoNetwork:
    """The network's place, and what it gives: vectors of no meaning, in memory that is used again."""

    def __init__(self, runtime: RuntimeLike, dimension: int) -> None:
        self._runtime = runtime
        self._dimension = dimension
        self._vectors: Floats = np.ones(1 << 22, dtype=np.float32)

    def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
        return self._runtime.token_vectors(char_ids_NC)

    def first_state(self, num_sentences: int) -> Floats:
        return self._runtime.first_state(num_sentences)

    def mix_slices(
        self,
        forward_TBD: Floats,
        backward_TBD: Floats,
        lengths_B: Integers,
        state_SR2BH: Floats,
        layer_weights_BL: Floats,
        gamma_B: Floats,
    ) -> tuple[Floats, Floats]:
        shape = (*forward_TBD.shape[:2], self._dimension)
        return self._vectors[: int(np.prod(shape))].reshape(shape), state_SR2BH

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        raise NotImplementedError("no request here asks for all layers")

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        raise NotImplementedError("no request here asks for scores")


def _open(folder: Path, num_threads: int, precision: Precision) -> Backend:
    backend = open_backend(folder, num_threads, precision)
    return replace(backend, runtime=NoNetwork(backend.runtime, backend.dimension))


@contextmanager
def _serving() -> Iterator[tuple[str, int]]:
    app = create_app(Settings(threads=1, log_level="warning"), _open)
    server, listening = Server(app, app.state.registry.settings), bind("127.0.0.1", 0)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listening])

    thread = threading.Thread(target=asyncio.run, args=[run()], name="polyseme-loop")
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.getsockname()
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _threads() -> dict[str, threading.Thread]:
    """Return the server's threads by their roles."""
    found = {}
    for thread in threading.enumerate():
        role = next((role for start, role in ROLES.items() if thread.name.startswith(start)), None)
        if role is not None and not thread.name.endswith("-watch"):
            found[role] = thread
    return found


def _cpu_us(thread: threading.Thread) -> float:
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) * 1e6


def profile(calls: dict[str, Call]) -> None:
    """Print where the CPU time of each of these requests goes; their replies are not checked."""
    print("\n### Python's part of a request: CPU us by thread, the model left out (medians)\n")
    print(f"| | {' | '.join(ROLES.values())} | together | a token |\n|---|---:|---:|---:|---:|---:|")
    with _serving() as address:
        client = Client(*address)
        for name, call in calls.items():
            asked = replace(call, check=lambda _: None)
            for _ in range(20):
                client.ask(asked)
            took = _by_thread(client, asked)
            cells = " | ".join(f"{took[role]:,.0f}" for role in ROLES.values())
            together = sum(took.values())
            print(f"| {name} | {cells} | {together:,.0f} | {together / call.num_tokens:.1f} |")
        last = replace(next(reversed(calls.values())), check=lambda _: None)
        print(f"\nThe functions that take most of the last of them, each with its own time alone, us a request:\n")
        print("| thread | function | us |\n|---|---|---:|")
        for role in ROLES.values():
            for function, own_us in _functions(address, role, last):
                print(f"| {role} | `{function}` | {own_us:.0f} |")


def _by_thread(client: Client, call: Call) -> dict[str, float]:
    """Return each thread's CPU us for one request."""
    threads = _threads()
    taken: dict[str, list[float]] = {role: [] for role in threads}
    for _ in range(NUM_REQUESTS):
        before = {role: _cpu_us(thread) for role, thread in threads.items()}
        client.ask(call)
        for role, thread in threads.items():
            taken[role].append(_cpu_us(thread) - before[role])
    return {role: statistics.median(values) for role, values in taken.items()}

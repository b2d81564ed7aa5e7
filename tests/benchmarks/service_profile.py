"""What Python itself takes of a request, beside the model: the CPU time of its threads and their functions.

The server runs in this process, with a network that computes nothing: what its engine's thread takes then is
all that is not the model. A thread's CPU time does not depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import cProfile
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model.files import Precision
from service.app import create_app
from service.engine.backend import Backend, Floats, Integers, RuntimeLike, open_backend
from service.engine.registry import Registry
from service.server import Server, bind
from service.settings import Settings
from tests.benchmarks.load import Call, Client

NUM_REQUESTS = 200
NUM_WARM = 20
NUM_FUNCTIONS = 6

ROLES = {
    "polyseme-loop": "event loop",
    "polyseme-tokenizer": "tokenizer",
    "polyseme-enko": "engine",
    "polyseme-worker": "writer of replies",
}
"""What a thread does, by the beginning of its name."""


class NoNetwork:
    """The network's place, and what it gives: vectors of no meaning, in memory that is used again."""

    def __init__(self, runtime: RuntimeLike, dimension: int) -> None:
        self._runtime = runtime
        self._dimension = dimension
        self._vectors: Floats = np.ones(1 << 22, dtype=np.float32)
        self.once: Callable[[], object] | None = None  # to be called on the engine's thread, in the next run

    def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
        return self._runtime.token_vectors(char_ids_NC, word_ids_N)

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
        once, self.once = self.once, None
        if once is not None:
            once()
        shape = (*forward_TBD.shape[:2], self._dimension)
        return self._vectors[: int(np.prod(shape))].reshape(shape), state_SR2BH

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        raise NotImplementedError("no request here asks for all layers")

    def log_probabilities(self, hidden_NH: Floats) -> Floats:
        raise NotImplementedError("no request here asks for scores")


@dataclass(frozen=True)
class _Inside:
    """A server of this process, and the ways into its threads."""

    client: Client
    loop: asyncio.AbstractEventLoop
    registry: Registry
    network: NoNetwork

    def threads(self) -> dict[str, threading.Thread]:
        """Return the threads that serve, by what they do."""
        return {
            role: thread
            for thread in threading.enumerate()
            for start, role in ROLES.items()
            if thread.name.startswith(start) and not thread.name.endswith("-watch")
        }

    def run_in(self, role: str, function: Callable[[], object], call: Call) -> None:
        """Call a function in one of the threads. call: a request, by which that of the engine is reached."""
        match role:
            case "event loop":
                asyncio.run_coroutine_threadsafe(_called(function), self.loop).result()
            case "tokenizer":
                self.registry.texts.submit(0, function).result()
            case "writer of replies":
                self.registry.workers.submit(function).result()
            case "engine":
                self.network.once = function
                self.client.ask(call)


async def _called(function: Callable[[], object]) -> None:
    function()


@contextmanager
def _serving() -> Iterator[_Inside]:
    networks: list[NoNetwork] = []
    loops: list[asyncio.AbstractEventLoop] = []

    def open_without_network(folder: Path, num_threads: int, precision: Precision) -> Backend:
        backend = open_backend(folder, num_threads, precision)
        networks.append(NoNetwork(backend.runtime, backend.dimension))
        return replace(backend, runtime=networks[0])

    app = create_app(Settings(threads=1, log_level="warning"), open_without_network)
    server, listening = Server(app, app.state.registry.settings), bind("127.0.0.1", 0)

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with app.router.lifespan_context(app):
            await server.serve(sockets=[listening])

    thread = threading.Thread(target=asyncio.run, args=[run()], name="polyseme-loop")
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield _Inside(Client(*listening.getsockname()), loops[0], app.state.registry, networks[0])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def profile(calls: Mapping[str, Call]) -> None:
    """Print where the CPU time of each of these requests goes; their replies are not checked."""
    roles = list(ROLES.values())
    print("\n### Python's part of a request: CPU us by thread, the network left out (medians)\n")
    print(f"| | {' | '.join(roles)} | together | a token |\n|---|{'---:|' * (len(roles) + 2)}")
    with _serving() as inside:
        for name, call in calls.items():
            asked = replace(call, check=lambda _: None)
            for _ in range(NUM_WARM):
                inside.client.ask(asked)
            took = _by_thread(inside, asked)
            together = sum(took.values())
            cells = " | ".join(f"{took[role]:,.0f}" for role in roles)
            print(f"| {name} | {cells} | {together:,.0f} | {together / call.num_tokens:.1f} |")
        for name, call in calls.items():
            asked = replace(call, check=lambda _: None)
            print(f"\nThe functions that take most of it, us, callees left out: {name}\n")
            print("| thread | function | us |\n|---|---|---:|")
            for role in roles:
                for function, own_us in _functions(inside, role, asked):
                    print(f"| {role} | `{function}` | {own_us:.0f} |")


def _by_thread(inside: _Inside, call: Call) -> dict[str, float]:
    """Return each thread's CPU us for one request."""
    threads = inside.threads()
    taken: dict[str, list[float]] = {role: [] for role in threads}
    for _ in range(NUM_REQUESTS):
        before = {role: _cpu_us(thread) for role, thread in threads.items()}
        inside.client.ask(call)
        for role, thread in threads.items():
            taken[role].append(_cpu_us(thread) - before[role])
    return {role: statistics.median(values) for role, values in taken.items()}


def _cpu_us(thread: threading.Thread) -> float:
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) * 1e6


def _functions(inside: _Inside, role: str, call: Call) -> list[tuple[str, float]]:
    """Return the functions that take most of a thread's time, and what each takes of one request.

    The profiler's own work makes small functions look larger than they are.
    """
    taken = cProfile.Profile(time.thread_time)
    inside.run_in(role, taken.enable, call)
    for _ in range(NUM_REQUESTS):
        inside.client.ask(call)
    inside.run_in(role, taken.disable, call)
    taken.create_stats()
    own = [
        (tottime / NUM_REQUESTS * 1e6, f"{Path(file).name}:{name}" if line else name)
        for (file, line, name), (_, _, tottime, _, _) in taken.stats.items()
    ]
    return [(name, own_us) for own_us, name in sorted(own, reverse=True)[:NUM_FUNCTIONS]]

"""Clients that ask a server without a pause, and check every value of every reply."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
TOLERANCE = 1e-5
"""Of a served value: absolute up to 1, relative above."""


@dataclass(frozen=True)
class Call:
    """One request, and what a good reply must hold."""

    path: str
    body: bytes
    headers: dict[str, str]
    num_tokens: int
    check: Callable[[bytes], None]


@dataclass(frozen=True)
class Answer:
    """What came back, and when (time.perf_counter())."""

    call: Call
    status: int
    started_s: float
    ended_s: float
    num_bytes: int
    server_timing: dict[str, float]  # milliseconds by the server's own account

    @property
    def took_s(self) -> float:
        return self.ended_s - self.started_s


class Client:
    """One connection that is kept."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=120)

    def ask(self, call: Call) -> Answer:
        """Send a request and read its whole reply, whose values are checked when its status is 200."""
        started_s = time.perf_counter()
        self._connection.request("POST", call.path, call.body, call.headers)
        reply = self._connection.getresponse()
        content = reply.read()
        ended_s = time.perf_counter()
        if reply.status == 200:
            call.check(content)
        timing = _server_timing(reply.getheader("Server-Timing", ""))
        return Answer(call, reply.status, started_s, ended_s, len(content), timing)


def ask_all(host: str, port: int, work: Sequence[Sequence[Call]]) -> list[Answer]:
    """Let one client for each list ask its calls, one after the other, all clients at once."""
    return _together([partial(_each, host, port, calls) for calls in work])


def ask_for(host: str, port: int, calls: Sequence[Call], num_clients: int, duration_s: float) -> list[Answer]:
    """Let clients ask for so long; each begins elsewhere in the calls and goes round."""
    until_s = time.perf_counter() + duration_s

    def client(first: int) -> list[Answer]:
        connection, answers, i = Client(host, port), [], first
        while time.perf_counter() < until_s:
            answers.append(connection.ask(calls[i % len(calls)]))
            i += 1
        return answers

    step = max(1, len(calls) // num_clients)
    return _together([partial(client, n * step) for n in range(num_clients)])


def assert_near(found: Floats, expected: Floats, tolerance: float = TOLERANCE) -> None:
    """Raise AssertionError unless shapes are equal and every value is as near as stated."""
    assert found.shape == expected.shape, f"expected the shape {expected.shape}, got {found.shape}"
    difference = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert difference.max() <= tolerance, f"values differ by {difference.max()}"


def _server_timing(header: str) -> dict[str, float]:
    parts = (part.strip().split(";dur=") for part in header.split(",") if ";dur=" in part)
    return {name: float(took_ms) for name, took_ms in parts}


def _each(host: str, port: int, calls: Sequence[Call]) -> list[Answer]:
    client = Client(host, port)
    return [client.ask(call) for call in calls]


def _together(clients: Sequence[Callable[[], list[Answer]]]) -> list[Answer]:
    """Run every client on a thread of its own. Raises what the first that failed raised."""
    answers: list[list[Answer]] = [[] for _ in clients]
    errors: list[BaseException] = []

    def run(i: int) -> None:
        try:
            answers[i] = clients[i]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[i]) for i in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [answer for own in answers for answer in own]

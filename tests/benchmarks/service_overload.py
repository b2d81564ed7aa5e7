"""Ten times the tokens a second that the server can take: who is answered, and what it costs."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tests.benchmarks.load import Answer, Call, Client, ask_for
from tests.benchmarks.open_loop import OpenLoop
from tests.benchmarks.server_process import ServerProcess

TIMES = 10
NUM_CLIENTS = 8
CHECKED = 8
"""Of so many good replies, one is compared value by value."""

RAMP_SHARE = 0.25
"""Of the time, before memory is expected to stand still: until then the queue fills up."""


@contextmanager
def watched_memory(server: ServerProcess) -> Iterator[list[tuple[float, float]]]:
    """Yield the server's resident MB with the time of each, four a second."""
    seen: list[tuple[float, float]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.25):
            seen.append((time.perf_counter(), server.resident_mb))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def overload(server: ServerProcess, call: Call, duration_s: float) -> None:
    """Measure what the server can take, ask for TIMES as much, and print what came."""
    warm = ask_for(server.host, server.port, [call], NUM_CLIENTS, duration_s / 6)
    capacity = _per_s(warm)
    usual_s = statistics.median(Client(server.host, server.port).ask(call).took_s for _ in range(5))
    load = OpenLoop(server.host, server.port, call, CHECKED)
    with watched_memory(server) as seen:
        asyncio.run(load.run(TIMES * capacity, duration_s))
        ended_s = time.perf_counter()
    recovered_s = _recovered_s(server, call, ended_s)
    by_status: dict[int, list[float]] = {}
    for outcome in load.outcomes:
        by_status.setdefault(outcome.status, []).append(outcome.ended_s - outcome.started_s)
    good, refused, unanswered = (by_status.pop(status, []) for status in (200, 429, 0))
    from_s = ended_s - (1 - RAMP_SHARE) * duration_s
    steady = np.array([pair for pair in seen if pair[0] >= from_s])
    slope = np.polyfit(steady[:, 0] / 60, steady[:, 1], 1)[0]
    print(f"\n### Overload: {TIMES} times what it can take, for {duration_s:.0f} s\n")
    print("| | |\n|---|---:|")
    tokens_s = call.num_tokens / duration_s
    print(f"| tokens a second: capacity, {NUM_CLIENTS} clients | {capacity * call.num_tokens:,.0f} |")
    print(f"| asked | {len(load.outcomes) * tokens_s:,.0f} |")
    print(f"| times the capacity | {len(load.outcomes) / duration_s / capacity:.1f} |")
    print(f"| answered | {len(good) * tokens_s:,.0f} |")
    print(f"| replies compared, every value right | {load.num_checked} of {len(good)} |")
    print(f"| refused with 429 and Retry-After, requests | {len(refused):,} |")
    print(f"| any other status | {sum(map(len, by_status.values()))} |")
    print(f"| unanswered when the load ended | {len(unanswered)} |")
    print(f"| s to an answer, median | {statistics.median(good):.2f} |")
    print(f"| ms to a refusal, median | {statistics.median(refused) * 1e3:.0f} |")
    print(
        f"| resident MB: least and most of the last {1 - RAMP_SHARE:.0%} of the time "
        f"| {steady[:, 1].min():.0f} to {steady[:, 1].max():.0f} |"
    )
    print(f"| resident MB: slope, a minute | {slope:+.0f} |")
    print(f"| ms of one request before | {usual_s * 1e3:.0f} |")
    print(f"| ms from the end of the load to a request's answer | {recovered_s * 1e3:.0f} |")
    assert all(outcome.retry_after for outcome in load.outcomes if outcome.status == 429)
    assert not by_status, f"expected 200 and 429 alone, got {by_status.keys()}"


def _recovered_s(server: ServerProcess, call: Call, ended_s: float) -> float:
    """Return how long after the end of the load the first new request is answered."""
    client = Client(server.host, server.port)
    while client.ask(call).status != 200:
        pass
    return time.perf_counter() - ended_s


def _per_s(answers: list[Answer]) -> float:
    assert {answer.status for answer in answers} == {200}
    took_s = max(answer.ended_s for answer in answers) - min(answer.started_s for answer in answers)
    return len(answers) / took_s

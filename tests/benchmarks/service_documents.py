"""One giant document, and short requests beside it: how long they wait, and for what."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from tests.benchmarks.load import Answer, Call, Client, ask_for
from tests.benchmarks.server_process import ServerProcess

LONG_DOCUMENT_TOKENS = 20_000
AIM_MS = 250
"""That the document may add to a short request."""

PARTS = ("tokenize", "queue", "compute", "serialize")


def documents(
    server: ServerProcess, lines: Sequence[str], call_of: Callable[[str], Call], rounds: int
) -> None:
    """call_of: makes the request for one text, and computes what its reply must hold."""
    words = " ".join(lines).split()
    text = " ".join(words * (LONG_DOCUMENT_TOKENS // len(words) + 1))
    short_calls = [call_of(line) for line in lines[:8]]
    quiet = ask_for(server.host, server.port, short_calls, 1, 5)
    print("\n### One long document, and short requests beside it\n")
    print("| tokens | s | us a token | short beside it: p50 ms | p90 | p99 | slowest ms |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(f"| none | | | {_distribution(quiet)} |")
    slowest: list[Answer] = []
    for share in (1 / 16, 1 / 4, 1):
        call = call_of(text[: round(len(text) * share * 0.8)])
        alone = Client(server.host, server.port).ask(call)
        among = [answer for _ in range(rounds) for answer in _beside(server, call, short_calls)]
        assert {answer.status for answer in (alone, *among)} == {200}
        print(
            f"| {call.num_tokens:,} | {alone.took_s:.2f} | {alone.took_s / call.num_tokens * 1e6:.0f} "
            f"| {_distribution(among)} |"
        )
        slowest = sorted(among, key=lambda answer: answer.took_s)[-5:]
    print(f"\nBeside the longest, the five slowest short requests; the aim: {AIM_MS} ms more than alone.\n")
    print(f"| ms | {' | '.join(PARTS)} | all else |\n|{'---:|' * (len(PARTS) + 2)}")
    for answer in slowest:
        took_ms = [answer.server_timing[part] for part in PARTS]
        cells = " | ".join(f"{each:.1f}" for each in took_ms)
        print(f"| {answer.took_s * 1e3:.0f} | {cells} | {answer.took_s * 1e3 - sum(took_ms):.1f} |")


def _beside(server: ServerProcess, document: Call, short_calls: Sequence[Call]) -> list[Answer]:
    """Ask for the document, and until it has come for short sentences, one after the other."""
    contents: list[bytes] = []
    unchecked = replace(document, check=contents.append)  # here that would be work of this process beside
    with ThreadPoolExecutor(1) as elsewhere:
        beside = elsewhere.submit(Client(server.host, server.port).ask, unchecked)
        client = Client(server.host, server.port)
        among: list[Answer] = []
        while not beside.done():
            among.append(client.ask(short_calls[len(among) % len(short_calls)]))
    assert beside.result().status == 200
    document.check(contents[0])
    return among


def _distribution(answers: Sequence[Answer]) -> str:
    took_ms = np.array([answer.took_s for answer in answers]) * 1e3
    p90, p99 = np.percentile(took_ms, (90, 99))
    return f"{statistics.median(took_ms):.0f} | {p90:.0f} | {p99:.0f} | {took_ms.max():.0f}"

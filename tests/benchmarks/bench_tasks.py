"""Learning a task on a server: how long it takes beside embedding, and what it leaves to other clients.

Sentences are made of the words of the tests' text; their labels say which language they are in, with some
noise. Client and server share the cores.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.server_process import ROOT, server_process

NUM_CLIENTS = 4
WARM_UP_S = 2.0
WORDS_IN_A_SENTENCE = (6, 18)
WRONG_LABELS = 0.1


def sentences(count: int) -> list[dict[str, str]]:
    """Return `count` labelled sentences, none twice."""
    pick = random.Random(0)
    words = {
        language: (ROOT / f"tests/data/corpus.{language}.txt").read_text(encoding="utf-8").split()
        for language in ("en", "ko")
    }
    made = []
    for i in range(count):
        language = pick.choice(("en", "ko"))
        label = pick.choice(("en", "ko")) if pick.random() < WRONG_LABELS else language
        text = " ".join(pick.choices(words[language], k=pick.randint(*WORDS_IN_A_SENTENCE)))
        made.append({"text": f"{text} {i}", "label": label})
    return made


class Clients:
    """Clients that embed eight sentences at a time, without a pause, until they are stopped."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._texts = [each["text"] for each in sentences(512)]
        self._stopped = threading.Event()
        self._ended_s: list[float] = []
        self._threads = [threading.Thread(target=self._ask, args=[i]) for i in range(NUM_CLIENTS)]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        time.sleep(WARM_UP_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def per_s(self, since_s: float, until_s: float) -> float:
        """Requests a second that ended between two times (time.monotonic())."""
        return sum(since_s <= each <= until_s for each in self._ended_s) / (until_s - since_s)

    def _ask(self, first: int) -> None:
        with httpx.Client(base_url=self._address, timeout=60) as client:
            i = first * 64
            while not self._stopped.is_set():
                body = {"inputs": self._texts[i % 504 : i % 504 + 8], "encoding": "base64"}
                client.post("/v1/embed", json=body).raise_for_status()
                self._ended_s.append(time.monotonic())
                i += 8


def fit(client: httpx.Client, name: str, examples: list[dict[str, str]], most_s: float) -> dict[str, float]:
    """Learn a task, or as much as there is time for; return when each part began and ended.

    The server says every second what it does: the parts' border is known to a second.
    """
    lines = "\n".join(json.dumps(each, ensure_ascii=False) for each in examples).encode()
    headers = {"Content-Type": "application/x-ndjson"}
    times = {"begun": time.monotonic()}
    client.post(f"/v1/tasks/{name}/fit?kind=classify", content=lines, headers=headers).raise_for_status()
    while True:
        state: dict[str, Any] = client.get(f"/v1/tasks/{name}/fit").json()
        now_s = time.monotonic()
        if state["message"].startswith("learning"):
            times.setdefault("embedded", now_s)
        if state["ended_at"] is not None:
            assert state["state"] in ("done", "cancelled"), state
            times["ended"] = now_s
            times.setdefault("embedded", now_s)
            return times
        if now_s - times["begun"] > most_s:
            client.delete(f"/v1/tasks/{name}/fit")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 20_000])
    parser.add_argument("--beside-s", type=float, default=20.0, help="how long to learn beside other clients")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--tasks-path", str(Path(folder) / "tasks.sqlite"), "--log-level", "info")
        with server_process(*flags) as server:
            address = f"http://{server.host}:{server.port}"
            with httpx.Client(base_url=address, timeout=120) as client:
                print("### Learning a task, enko\n")
                print("| sentences | embedding, s | optimising, s | share | resident then, MB |")
                print("|---:|---:|---:|---:|---:|")
                for size in given.sizes:
                    times = fit(client, f"size-{size}", sentences(size), 1e9)
                    embedding_s, learning_s = (
                        times["embedded"] - times["begun"],
                        times["ended"] - times["embedded"],
                    )
                    print(
                        f"| {size:,} | {embedding_s:.1f} | {learning_s:.1f} "
                        f"| {learning_s / (embedding_s + learning_s):.2f} | {server.resident_mb:,.0f} |"
                    )
                with Clients(address) as others:
                    alone_s = time.monotonic()
                    time.sleep(given.beside_s / 2)
                    alone = others.per_s(alone_s, time.monotonic())
                    times = fit(client, "beside", sentences(2000), given.beside_s)
                    beside = others.per_s(times["begun"], times["ended"])
                    again_s = time.monotonic()
                    time.sleep(given.beside_s / 2)
                    again = others.per_s(again_s, time.monotonic())
                without = (alone + again) / 2
                print(
                    f"\n{NUM_CLIENTS} clients, 8 sentences each time: {without:.1f} requests/s without a fit "
                    f"({alone:.1f} before, {again:.1f} after), {beside:.1f} during one: "
                    f"{beside / without:.2f}."
                )


if __name__ == "__main__":
    main()

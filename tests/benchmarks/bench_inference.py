"""The shipped model in one process: bulk and single sentences beside onnxruntime's own MatMul, start, memory.

The work of a token is counted as its matrix products alone, 2 * 4H * (D + H) operations for each LSTM, and
only for tokens and boundaries that are really there: padding, gates and mixing count as time, not as work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from model.architecture import NUM_GATES, Architecture
from model.bundle import Bundle
from service.backend import Backend, open_backend
from service.engine import Engine
from service.mixes import Mix
from service.observer import Unobserved
from service.sentences import Embedding

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "model" / "pretrained" / "enko"
BATCH_TOKENS = 1024
SLICE_TOKENS = 512
MATMUL_SIZE = 1024


def operations_per_token(architecture: Architecture) -> int:
    gates, hidden_dim = NUM_GATES[architecture.cell], architecture.hidden_dim
    return 2 * architecture.num_layers * 2 * gates * hidden_dim * 2 * hidden_dim


def matmul_session(num_threads: int) -> Callable[[], object]:
    size = MATMUL_SIZE
    a, b, c = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "abc")
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "matmul", [a, b], [c])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    feeds = {name: rng.standard_normal((size, size), dtype=np.float32) for name in "ab"}
    return lambda: session.run(None, feeds)


class Sentences:
    """Real sentences, tokenized, in batches as the service makes them; the engine's cache is warm after one
    round."""

    def __init__(self, backend: Backend, lines: list[str]) -> None:
        self.engine = Engine(backend, 65_536, Unobserved())
        self.mix = Mix((1 / backend.num_layers,) * backend.num_layers)
        self.surfaces = sorted((backend.tokenizer.tokenize(line).surfaces for line in lines), key=len)
        self.num_tokens = sum(len(surfaces) + 2 for surfaces in self.surfaces)

    def batches(self) -> list[list[list[str]]]:
        """Sentences of like length, up to BATCH_TOKENS with padding."""
        batches: list[list[list[str]]] = [[]]
        for surfaces in self.surfaces:
            if batches[-1] and (len(batches[-1]) + 1) * (len(surfaces) + 2) > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(surfaces)
        return batches

    def run_all(self, batches: list[list[list[str]]]) -> None:
        for batch in batches:
            self.run(batch)

    def run(self, batch: list[list[str]]) -> None:
        sentences = [Embedding(surfaces, self.mix, SLICE_TOKENS) for surfaces in batch]
        for _, outcome in self.engine(sentences):
            assert isinstance(outcome, np.ndarray)


def best_of(rounds: int, runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return each run's best seconds; they take turns, so that a busy machine slows all of them alike."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    return best


def serving_process(bundle: Path) -> tuple[float, float]:
    """Return seconds from start to the first ready answer, and resident MB then."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--bundle", str(bundle)]
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "serving" in line)
        url = next(word for word in line.split() if word.startswith("http"))
        with urllib.request.urlopen(f"{url}/readyz") as reply:
            assert reply.status == 200
        seconds = time.perf_counter() - started
        status = Path(f"/proc/{server.pid}/status").read_text()
        server.terminate()
    return seconds, int(status.split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    backend = open_backend(options.bundle, options.threads)
    architecture = Bundle.open(options.bundle).manifest.architecture
    texts = [
        (ROOT / "tests" / "data" / f"corpus.{language}.txt").read_text("utf-8") for language in ("en", "ko")
    ]
    sentences = Sentences(backend, [line for text in texts for line in text.splitlines() if line])
    batches = sentences.batches()
    twenty = min(sentences.surfaces, key=lambda surfaces: abs(len(surfaces) - 20))
    best = best_of(
        options.rounds,
        {
            "matmul": matmul_session(options.threads),
            "bulk": lambda: sentences.run_all(batches),
            "single": lambda: sentences.run([twenty]),
        },
    )
    operations = operations_per_token(architecture)
    matmul_rate = 2 * MATMUL_SIZE**3 / best["matmul"] / 1e9
    num_single = len(twenty) + 2
    rows = [
        (
            f"{len(sentences.surfaces)} sentences in batches of {BATCH_TOKENS} tokens",
            sentences.num_tokens,
            best["bulk"],
        ),
        (f"one sentence of {num_single - 2} tokens", num_single, best["single"]),
    ]
    print(f"### Inference, {backend.name}: {options.threads} threads\n")
    print("| | tokens/s | ms | GFLOP/s | of MatMul's rate |\n|---|---:|---:|---:|---:|")
    print(
        f"| onnxruntime MatMul, {MATMUL_SIZE}^3 | | {best['matmul'] * 1e3:.1f} | {matmul_rate:.0f} | 1.00 |"
    )
    for label, num_tokens, took_s in rows:
        rate = num_tokens * operations / took_s / 1e9
        cells = f"{num_tokens / took_s:,.0f} | {took_s * 1e3:.1f} | {rate:.0f} | {rate / matmul_rate:.2f}"
        print(f"| {label} | {cells} |")
    took_s, megabytes = serving_process(options.bundle)
    print(f"\nFrom start to ready: {took_s:.2f} s; resident then: {megabytes:.0f} MB.\n")


if __name__ == "__main__":
    main()

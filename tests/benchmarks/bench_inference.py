"""The shipped model in one process: bulk and single sentences beside onnxruntime's own MatMul, start, memory.

The work of a token is counted as its matrix products alone, 2 * 4H * (D + H) operations for each LSTM, and
only for tokens and boundaries that are really there: padding, gates and mixing count as time, not as work.
For int8 the rate counts the same products, beside the MatMul of float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from model.architecture import NUM_GATES, Architecture
from model.bundle import Bundle
from model.files import Precision
from service.engine.backend import Backend, open_backend
from service.engine.engine import Engine
from service.engine.observer import Unobserved
from service.engine.sentences import Embedding
from service.mixes import Mix
from service.settings import Settings
from tests.benchmarks.server_process import ROOT, server_process

BUNDLE = ROOT / "model" / "pretrained" / "enko"
BATCH_TOKENS = 1024
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
        sentences = [Embedding(surfaces, self.mix, Settings().slice_tokens) for surfaces in batch]
        for _, outcome in self.engine(sentences):
            assert isinstance(outcome, np.ndarray)


def best_of(
    rounds: int, runs: dict[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return each run's best seconds; they take turns, so that a busy machine slows all of them alike."""
    best = dict.fromkeys(runs, float("inf"))
    for run in runs.values():
        run()
    for _ in range(rounds):
        for name, run in runs.items():
            started = clock()
            run()
            best[name] = min(best[name], clock() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    backends: dict[Precision, Backend] = {
        precision: open_backend(options.bundle, options.threads, precision)
        for precision in ("float32", "int8")
    }
    architecture = Bundle.open(options.bundle).manifest.architecture
    texts = [
        (ROOT / "tests" / "data" / f"corpus.{language}.txt").read_text("utf-8") for language in ("en", "ko")
    ]
    lines = [line for text in texts for line in text.splitlines() if line]
    runs = {"matmul": matmul_session(options.threads)}
    rows: list[tuple[str, str, int]] = []
    for precision, backend in backends.items():
        sentences = Sentences(backend, lines)
        twenty = min(sentences.surfaces, key=lambda surfaces: abs(len(surfaces) - 20))
        bulk, single = f"{precision} bulk", f"{precision} single"
        runs[bulk] = partial(sentences.run_all, sentences.batches())
        runs[single] = partial(sentences.run, [twenty])
        what = f"{len(lines)} sentences in batches of {BATCH_TOKENS} tokens"
        rows.append((f"{precision}: {what}", bulk, sentences.num_tokens))
        rows.append((f"{precision}: one sentence of {len(twenty)} tokens", single, len(twenty) + 2))
    best = best_of(options.rounds, runs)
    operations = operations_per_token(architecture)
    matmul_rate = 2 * MATMUL_SIZE**3 / best["matmul"] / 1e9
    print(f"### Inference, enko: {options.threads} threads\n")
    print("| | tokens/s | ms | GFLOP/s | of MatMul's rate |\n|---|---:|---:|---:|---:|")
    print(
        f"| onnxruntime MatMul, {MATMUL_SIZE}^3 | | {best['matmul'] * 1e3:.1f} | {matmul_rate:.0f} | 1.00 |"
    )
    for label, name, num_tokens in rows:
        took_s = best[name]
        rate = num_tokens * operations / took_s / 1e9
        cells = f"{num_tokens / took_s:,.0f} | {took_s * 1e3:.1f} | {rate:.0f} | {rate / matmul_rate:.2f}"
        print(f"| {label} | {cells} |")
    for precision in backends:
        with server_process("--bundle", str(options.bundle), "--precision", precision) as server:
            print(
                f"\n{precision}: from start to ready {server.started_in_s:.2f} s; "
                f"resident then {server.resident_mb:.0f} MB."
            )
    print()


if __name__ == "__main__":
    main()

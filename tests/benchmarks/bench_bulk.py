"""`polyseme embed` beside what it could be in this process: each form of output, and workers of a cluster.

The limit is the same rows tokenised, embedded and dropped. It and the command take turns, and a share is of
the runs right before and after, so that a busy machine slows both alike; of the rounds the middle one counts.
A number is of the whole command but for its start, the loading of the bundle, the first reading of the input
and the start of a cluster. Tokens are the model's, boundaries not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from model.files import Precision
from service.bulk.encoder import Asked, Encoder
from service.bulk.jobs import Job
from service.bulk.plan import Shard
from service.bulk.rows import Row
from service.engine.backend import open_backend
from service.engine.cpu import usable_cpus
from service.engine.engine import Engine
from service.engine.observer import Unobserved
from service.engine.outcomes import Unfinished
from service.engine.packing import prefix
from service.engine.sentences import Embedding
from service.mixes import Mix
from service.settings import SHIPPED_BUNDLE, Settings
from tests.benchmarks.bench_service import corpus
from tests.benchmarks.bulk_profile import profile
from tests.benchmarks.server_process import ROOT

FORMS: dict[str, tuple[str, ...]] = {
    "Parquet, every token": (),
    "Parquet, every token, float16": ("--dtype", "float16"),
    "Parquet, sentences": ("--pool", "sentence"),
    "npz, every token": ("--format", "npz"),
    "HDF5, every word, all layers": ("--format", "hdf5", "--layer", "all"),
}


class InProcess:
    """What there is without files: the command's own encoder on rows, whose vectors are dropped; and the
    service's engine, which gives one batch to all threads, on sentences that are tokenised and sorted."""

    def __init__(self, lines: Sequence[str], num_threads: int, precision: Precision) -> None:
        self._num_threads = num_threads
        self._backend = open_backend(SHIPPED_BUNDLE, 1, precision)
        self._mix = Mix((1 / self._backend.num_layers,) * self._backend.num_layers)
        rows = [Row(line, text) for line, text in enumerate(lines, start=1)]
        self._job = Job(Shard(0, 0, 0, len(rows), sum(map(len, lines))), "corpus", rows, None)
        tokenizer = self._backend.tokenizer
        self._surfaces = sorted((tokenizer.tokenize(line).surfaces for line in lines), key=len)
        self.num_tokens = sum(map(len, self._surfaces))
        on_all_threads = open_backend(SHIPPED_BUNDLE, num_threads, precision)
        self._engine = Engine(on_all_threads, Settings.cache_tokens, Unobserved())
        self.engine()  # fills the cache

    def engine(self) -> float:
        """Return tokens a second."""
        started_s = time.perf_counter()
        waiting = self._surfaces
        while waiting:
            lengths = [min(len(each) + 2, Settings.slice_tokens) for each in waiting]
            size = prefix(lengths, Settings.batch_tokens)
            batch = [Embedding(each, self._mix, Settings.slice_tokens) for each in waiting[:size]]
            while batch:
                outcomes = dict(self._engine(batch))
                batch = [each for i, each in enumerate(batch) if isinstance(outcomes[i], Unfinished)]
            waiting = waiting[size:]
        return self.num_tokens / (time.perf_counter() - started_s)

    def encoder(self) -> float:
        """Return tokens a second. As in the command, every token is new at first."""
        started_s = time.perf_counter()
        encoder = Encoder(self._backend, Asked(self._mix, "token", False, "float32"), self._num_threads)
        assert sum(window.num_tokens for window in encoder.windows([self._job])) == self.num_tokens
        return self.num_tokens / (time.perf_counter() - started_s)


def command(path: Path, out: Path, *flags: str) -> dict[str, Any]:
    """Run the command, and return its summary."""
    run = subprocess.run(
        [sys.executable, "-m", "service", "embed", path, out, "--json", *flags],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    summary: dict[str, Any] = json.loads(run.stdout)
    return summary


def one_process(path: Path, lines: Sequence[str], rounds: int, num_threads: int) -> None:
    print(f"### Bulk, enko: {num_threads} threads, {len(lines):,} sentences\n")
    print("| | tokens/s | of in process |\n|---|---:|---:|")
    precisions: tuple[Precision, ...] = ("float32", "int8")
    for precision in precisions:
        limit = InProcess(lines, num_threads, precision)
        told: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            before = limit.encoder()
            engine = limit.engine()
            told.setdefault("the service's engine, tokenised before", []).append((engine, engine / before))
            told.setdefault("in process: tokenised, not written", []).append((before, 1.0))
            for name, flags in FORMS.items():
                with tempfile.TemporaryDirectory() as folder:
                    threads = ("--threads", str(num_threads))
                    summary = command(path, Path(folder) / "out", "--precision", precision, *threads, *flags)
                    after = limit.encoder()
                    share = summary["tokens_per_s"] / ((before + after) / 2)
                    told.setdefault(name, []).append((summary["tokens_per_s"], share))
                    before = after
                    if name == "Parquet, every token":
                        assert summary["tokens"] == limit.num_tokens
                        assert pq.read_table(Path(folder) / "out")["text"].to_pylist() == list(lines)
        show(told, f"{precision}: ")


def workers(path: Path, rounds: int, most: int) -> None:
    """Files made at the same time, with one thread each."""
    print("\n### Workers of a Ray cluster on this machine, one thread each, float32\n")
    print("| workers | tokens/s | of one process with one thread |\n|---:|---:|---:|")
    flags = ("--threads", "1", "--pool", "sentence", "--shard-characters", "16384")
    told: dict[int, list[tuple[float, float]]] = {number: [] for number in range(1, most + 1)}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            one = command(path, Path(folder) / "one", *flags)["tokens_per_s"]
            for number, pairs in told.items():
                ray = ("--engine", "ray", "--ray-workers", str(number))
                rate = command(path, Path(folder) / str(number), *flags, *ray)["tokens_per_s"]
                pairs.append((rate, rate / one))
    show(told)


def show(told: Mapping[Any, Sequence[tuple[float, float]]], before: str = "") -> None:
    """Print the middle one of each name's rates and shares."""
    for name, pairs in told.items():
        rate, share = (statistics.median(values) for values in zip(*pairs, strict=True))
        print(f"| {before}{name} | {rate:,.0f} | {share:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--times", type=int, default=8, help="how often the tests' corpus stands in the input"
    )
    parser.add_argument("--only", choices=("process", "workers", "profile"))
    given = parser.parse_args()
    lines = corpus() * given.times
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "corpus.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        if given.only in (None, "process"):
            one_process(path, lines, given.rounds, given.threads)
        if given.only in (None, "workers"):
            workers(path, given.rounds, given.threads)
    if given.only in (None, "profile"):
        profile(corpus() * 4, given.threads, given.rounds)


if __name__ == "__main__":
    main()

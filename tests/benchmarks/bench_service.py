"""The shipped model over HTTP: bulk, latency, long documents, overload. Client and server share the cores.

Every reply that is counted is read and compared with vectors that were computed in this process. Tokens are
the model's, the two boundaries of each sentence included.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from service.engine.backend import open_backend
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.mixes import Mix
from service.settings import Settings
from service.work import Work
from tests.benchmarks.bench_inference import MATMUL_SIZE, best_of, matmul_session
from tests.benchmarks.load import Answer, Call, Client, Floats, ask_all, ask_for, assert_near
from tests.benchmarks.server_process import ROOT, ServerProcess, server_process
from tests.benchmarks.service_documents import documents
from tests.benchmarks.service_overload import overload
from tests.benchmarks.service_profile import profile

SECTIONS = ("bulk", "latency", "profile", "documents", "overload")
NUM_CLIENTS = 8
SENTENCES_PER_CALL = 32

Expected = tuple[int, Floats]  # of one sentence: its tokens, boundaries included, and its vectors (T, D)


class InProcess:
    """The service's own embedder without HTTP: what is expected of it, and how fast it can be."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry(settings, open_backend)
        self._registry.open()
        self.embedder: Embedder = self._registry.embedder(None)
        self.mix = Mix((1 / self.embedder.num_layers,) * self.embedder.num_layers)

    def close(self) -> None:
        self._registry.close()

    async def _encode(self, texts: Sequence[str]) -> list[Expected]:
        encoded = await self.embedder.encode(texts, self.mix, Work())
        return [
            (len(tokens) + 2, vectors[[i for i, shown in enumerate(tokens.visible) if shown]])
            for tokens, vectors in encoded
        ]

    def expected(self, texts: Sequence[str]) -> list[Expected]:
        return asyncio.run(self._encode(texts))

    def seconds(self, work: Sequence[Sequence[Sequence[str]]]) -> float:
        """Return how long it takes to encode lists of calls side by side."""

        async def client(calls: Sequence[Sequence[str]]) -> None:
            for texts in calls:
                await self.embedder.encode(texts, self.mix, Work())

        async def together() -> None:
            await asyncio.gather(*map(client, work))

        started = time.perf_counter()
        asyncio.run(together())
        return time.perf_counter() - started


def _read_json(content: bytes) -> Iterator[Floats]:
    for embedding in json.loads(content)["embeddings"]:
        yield np.array(embedding["vectors"], dtype=np.float32)


def _read_base64(content: bytes) -> Iterator[Floats]:
    for embedding in json.loads(content)["embeddings"]:
        yield np.frombuffer(base64.b64decode(embedding["vectors"]), "<f4").reshape(embedding["shape"])


def _read_arrow(content: bytes) -> Iterator[Floats]:
    table = pa.ipc.open_stream(content).read_all()
    dimension = table.schema.field("vectors").type.value_type.list_size
    for rows in table.column("vectors"):
        yield rows.values.flatten().to_numpy().reshape(-1, dimension)


def _read_npz(content: bytes) -> Iterator[Floats]:
    with np.load(io.BytesIO(content)) as arrays:
        vectors, offsets = arrays["vectors"], arrays["row_offsets"]
    yield from np.split(vectors, offsets[1:-1])


FORMATS: dict[str, tuple[str, dict[str, str], Callable[[bytes], Iterator[Floats]]]] = {
    "Arrow": ("application/vnd.apache.arrow.stream", {}, _read_arrow),
    "npz": ("application/x-npz", {}, _read_npz),
    "base64": ("application/json", {"encoding": "base64"}, _read_base64),
    "JSON": ("application/json", {}, _read_json),
}


def embed_call(texts: Sequence[str], expected: Sequence[Expected], form: str = "Arrow") -> Call:
    accept, fields, read = FORMATS[form]

    def check(content: bytes) -> None:
        found = list(read(content))
        assert len(found) == len(expected)
        for vectors, (_, wanted) in zip(found, expected, strict=True):
            assert_near(vectors, wanted)

    body = json.dumps({"inputs": texts, **fields}).encode()
    headers = {"Content-Type": "application/json", "Accept": accept}
    return Call("/v1/embed", body, headers, sum(num_tokens for num_tokens, _ in expected), check)


def corpus() -> list[str]:
    """The sentences of the tests' corpus, English and Korean in turn."""
    texts = [
        (ROOT / "tests" / "data" / f"corpus.{language}.txt").read_text("utf-8") for language in ("en", "ko")
    ]
    lines = [[line for line in text.splitlines() if line] for text in texts]
    return [line for pair in zip(*lines, strict=False) for line in pair]


def mixed_lengths(texts: Sequence[str], number: int) -> list[str]:
    """Return texts of 1 to about 200 tokens, as many of each length."""
    rng = random.Random(0)
    words = " ".join(texts).split()
    made = []
    for i in range(number):
        num_words = max(1, round((i + 1) / number * 110))
        start = rng.randrange(len(words) - num_words)
        made.append(" ".join(words[start : start + num_words]))
    rng.shuffle(made)
    return made


def per_s(answers: Sequence[Answer]) -> float:
    """Tokens per second of the answers that are good."""
    assert {answer.status for answer in answers} == {200}
    took_s = max(answer.ended_s for answer in answers) - min(answer.started_s for answer in answers)
    return sum(answer.call.num_tokens for answer in answers) / took_s


def quantiles_ms(answers: Sequence[Answer]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    percentiles = statistics.quantiles([answer.took_s for answer in answers], n=100)
    return percentiles[49] * 1e3, percentiles[98] * 1e3


def bulk(server: ServerProcess, inside: InProcess, rounds: int) -> None:
    texts = corpus() * 4
    chunks = [
        texts[start : start + SENTENCES_PER_CALL]
        for start in range(0, len(texts) - SENTENCES_PER_CALL, SENTENCES_PER_CALL)
    ]
    expected = [inside.expected(chunk) for chunk in chunks]
    num_tokens = sum(num for of_chunk in expected for num, _ in of_chunk)
    best = {"in process": 0.0, **dict.fromkeys(FORMATS, 0.0)}
    sizes: dict[str, float] = {}
    for _ in range(rounds):
        took_s = inside.seconds([chunks[i::NUM_CLIENTS] for i in range(NUM_CLIENTS)])
        best["in process"] = max(best["in process"], num_tokens / took_s)
        for form in FORMATS:
            calls = [embed_call(*pair, form) for pair in zip(chunks, expected, strict=True)]
            answers = ask_all(server.host, server.port, [calls[i::NUM_CLIENTS] for i in range(NUM_CLIENTS)])
            best[form] = max(best[form], per_s(answers))
            sizes[form] = Client(server.host, server.port).ask(calls[0]).num_bytes / calls[0].num_tokens
    print(f"### Bulk: {NUM_CLIENTS} clients x {SENTENCES_PER_CALL} sentences, all token vectors, float32\n")
    print("| | tokens/s | of in process | bytes a token |\n|---|---:|---:|---:|")
    for name, rate in best.items():
        size = f"{sizes[name]:,.0f}" if name in sizes else ""
        print(f"| {name} | {rate:,.0f} | {rate / best['in process']:.2f} | {size} |")


def latency(server: ServerProcess, inside: InProcess, duration_s: float) -> None:
    texts = mixed_lengths(corpus(), 200)
    calls = [embed_call([text], [one]) for text, one in zip(texts, inside.expected(texts), strict=True)]
    print("\n### Latency: one sentence a request, 1 to 200 tokens\n")
    print("| clients | p50 ms | p99 ms | tokens/s |\n|---:|---:|---:|---:|")
    for num_clients in (1, 16, 64):
        answers = ask_for(server.host, server.port, calls, num_clients, duration_s)
        p50, p99 = quantiles_ms(answers)
        print(f"| {num_clients} | {p50:.0f} | {p99:.0f} | {per_s(answers):,.0f} |")


def parts(server: ServerProcess, inside: InProcess) -> None:
    """Where the time of one small request goes, by the server's own account and the client's clock."""
    text = min(corpus(), key=lambda line: abs(len(line.split()) - 14))
    call = embed_call([text], inside.expected([text]))
    client = Client(server.host, server.port)
    answers = [client.ask(call) for _ in range(300)][50:]
    total = statistics.median(answer.took_s for answer in answers) * 1e3
    names = answers[0].server_timing
    medians = {name: statistics.median(answer.server_timing[name] for answer in answers) for name in names}
    print(f"\n### One sentence of {call.num_tokens} tokens: where {total:.1f} ms go (medians)\n")
    print("| | ms |\n|---|---:|")
    for name, took_ms in medians.items():
        print(f"| {name} | {took_ms:.2f} |")
    print(f"| all else: HTTP, JSON, threads, the client | {total - sum(medians.values()):.2f} |")


def _profiled(inside: InProcess) -> dict[str, Call]:
    """Return the requests whose cost in Python is told."""
    line = min(corpus(), key=lambda text: abs(len(text.split()) - 14))
    made = {}
    for what, texts in (("one sentence", [line]), ("32 sentences", corpus()[:SENTENCES_PER_CALL])):
        tokens = embed_call(texts, inside.expected(texts))
        body = {"model": inside.embedder.name, "input": texts, "encoding_format": "base64"}
        headers = {"Content-Type": "application/json"}
        content = json.dumps(body).encode()
        made[f"{what}, sentence vectors by OpenAI's interface, base64"] = Call(
            "/v1/embeddings", content, headers, tokens.num_tokens, lambda _: None
        )
        made[f"{what}, all token vectors as Arrow"] = tokens
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of overload; of each latency: a sixth")
    parser.add_argument("--rounds", type=int, default=3, help="of bulk; the best counts")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, default=SECTIONS)
    options = parser.parse_args()
    settings: Any = {"precision": options.precision}
    matmul_s = best_of(5, {"matmul": matmul_session(2)})["matmul"]
    rate = 2 * MATMUL_SIZE**3 / matmul_s / 1e9
    print(f"## Service, enko, {options.precision} (onnxruntime's MatMul in this run: {rate:.0f} GFLOP/s)\n")
    inside = InProcess(Settings(**settings))
    with server_process("--precision", options.precision) as server:
        print(f"Ready after {server.started_in_s:.2f} s, resident {server.resident_mb:.0f} MB.\n")
        if "bulk" in options.only:
            bulk(server, inside, options.rounds)
        if "latency" in options.only:
            latency(server, inside, options.seconds / 6)
            parts(server, inside)
        if "profile" in options.only:
            profile(_profiled(inside))
        if "documents" in options.only:
            texts = corpus()
            documents(server, texts, lambda text: embed_call([text], inside.expected([text])), options.rounds)
        if "overload" in options.only:
            texts = corpus()[:SENTENCES_PER_CALL]
            overload(server, embed_call(texts, inside.expected(texts)), options.seconds)
    inside.close()


if __name__ == "__main__":
    main()

"""Published ELMos at their own sizes, with random weights: import, memory, and tokens a second beside torch.

All rates are of the context encoder on the same batches of real sentences, both boundaries counted; torch
runs the same weights in `nn.LSTM(proj_size=...)`, which clips nothing, and must give the same vectors as long
as no clip acts. Work is counted as matrix products alone, 2 * (2 * 4C * P + C * P) operations for each cell
and token, and never for padding. The character CNN is measured apart, on every distinct word of the text: a
word that was seen costs no more than looking it up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.architecture import Architecture
from model.bilm import reverse_sentences
from model.bundle import Bundle
from model.grouping import groups_by_length
from model.reader import open_reader
from model.runtime import Floats, Runtime
from service.engine.token_cache import TokenCache
from tests.benchmarks.bench_inference import BATCH_TOKENS, MATMUL_SIZE, best_of, matmul_session
from tests.benchmarks.published_sizes import NUM_LAYERS, SIZES, write_source
from tests.benchmarks.server_process import ROOT

SINGLE_SENTENCES = 8
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Batch:
    x_TBD: Floats
    lengths_B: npt.NDArray[np.int32]

    @property
    def num_tokens(self) -> int:
        return int(self.lengths_B.sum())


def import_seconds(source: tuple[Path, Path], out: Path, dtype: str) -> float:
    """How long `polyseme-train import` takes."""
    command = [sys.executable, "-m", "training", "import", "allennlp", *map(str, source), str(out)]
    started = time.perf_counter()
    subprocess.run([*command, "--dtype", dtype], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


class Text:
    """Real sentences as token vectors, in batches as the service makes them."""

    def __init__(self, bundle: Bundle, runtime: Runtime, num_sentences: int) -> None:
        self.runtime = runtime
        self.reader = open_reader(bundle)
        files = [ROOT / "tests" / "data" / f"corpus.{language}.txt" for language in ("en", "ko")]
        lines = [[line for line in file.read_text("utf-8").splitlines() if line] for file in files]
        some = [line for of_file in lines for line in of_file[: num_sentences // len(files)]]
        self.sentences = [self.reader.tokenizer.tokenize(line).surfaces for line in some]
        self.words = list(dict.fromkeys(word for words in self.sentences for word in words))
        self.cache = TokenCache(65_536, bundle.manifest.architecture.hidden_dim)
        self.begin_D, self.end_D = runtime.token_vectors(self.reader.alphabet.boundary_rows())

    def vectors(self, words: Sequence[str]) -> Floats:
        """Return (N, D), each word through the character CNN."""
        return self.runtime.token_vectors(self.reader.alphabet.encode(words))

    def look_up_all(self) -> None:
        """Every word again, none of which is new any more."""
        self.cache.lookup(self.words, self.vectors)

    def batch(self, sentences: Sequence[Sequence[str]]) -> Batch:
        known = dict(zip(self.words, self.cache.lookup(self.words, self.vectors), strict=True))
        rows = [np.stack([self.begin_D, *map(known.__getitem__, words), self.end_D]) for words in sentences]
        lengths_B = np.array([len(row) for row in rows], dtype=np.int32)
        x_TBD = np.zeros((int(lengths_B.max()), len(rows), len(self.begin_D)), dtype=np.float32)
        for b, row in enumerate(rows):
            x_TBD[: len(row), b] = row
        return Batch(x_TBD, lengths_B)

    def bulk(self) -> list[Batch]:
        """Sentences of like length, up to BATCH_TOKENS with padding."""
        batches: list[list[list[str]]] = [[]]
        for words in sorted(self.sentences, key=len):
            if batches[-1] and (len(batches[-1]) + 1) * (len(words) + 2) > BATCH_TOKENS:
                batches.append([])
            batches[-1].append(words)
        groups = []
        for sentences in batches:
            lengths_B = np.array([len(words) + 2 for words in sentences], dtype=np.int32)
            groups += [[sentences[row] for row in rows] for rows in groups_by_length(lengths_B)]
        return [self.batch(group) for group in groups]

    def singles(self) -> list[Batch]:
        """Sentences of every length, one at a time."""
        every = len(self.sentences) // SINGLE_SENTENCES
        return [self.batch([words]) for words in sorted(self.sentences, key=len)[every // 2 :: every]]


class Torch:
    """The same layers in torch, averaged."""

    def __init__(self, runtime_bundle: Bundle) -> None:
        from training.export import load_weights

        architecture, tensors = runtime_bundle.manifest.architecture, load_weights(runtime_bundle)
        self.directions = [
            [self._layer(architecture, tensors, f"{direction}_layers.{i}.") for i in range(NUM_LAYERS)]
            for direction in ("forward", "backward")
        ]

    @staticmethod
    def _layer(architecture: Architecture, tensors: dict[str, torch.Tensor], prefix: str) -> torch.nn.LSTM:
        size, cell = architecture.hidden_dim, architecture.gate_dim
        layer = torch.nn.LSTM(size, cell, proj_size=size)
        layer.load_state_dict(
            {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
        )
        return layer.eval()

    @torch.inference_mode()
    def run(self, batch: Batch) -> torch.Tensor:
        """Return the mean of all layers (T, B, 2P); what lies beyond a row's length has no meaning."""
        x_TBD, lengths_B = torch.from_numpy(batch.x_TBD), torch.from_numpy(batch.lengths_B).long()
        halves = []
        for is_backward, layers in enumerate(self.directions):
            inputs = total = reverse_sentences(x_TBD, lengths_B) if is_backward else x_TBD
            for i, layer in enumerate(layers):
                output, _ = layer(inputs)
                inputs = output + inputs if i > 0 else output
                total = total + inputs
            halves.append(reverse_sentences(total, lengths_B) if is_backward else total)
        return torch.cat(halves, dim=2) / (NUM_LAYERS + 1)


def average(runtime: Runtime, batch: Batch) -> Floats:
    """The mean of all layers, as a request without a mix gets it."""
    weights_BL = np.full((len(batch.lengths_B), NUM_LAYERS + 1), 1 / (NUM_LAYERS + 1), dtype=np.float32)
    gamma_B = np.ones(len(batch.lengths_B), dtype=np.float32)
    state = runtime.first_state(len(batch.lengths_B))
    x_TBD = batch.x_TBD
    vectors, _ = runtime.mix_slices(x_TBD, x_TBD, batch.lengths_B, state, weights_BL, gamma_B)
    return vectors


def check_same(runtime: Runtime, reference: Torch, batch: Batch) -> None:
    found, expected = average(runtime, batch), reference.run(batch).numpy()
    for b, length in enumerate(batch.lengths_B):
        np.testing.assert_allclose(found[:length, b], expected[:length, b], rtol=0, atol=TOLERANCE)


def peak_megabytes(bundle: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Of a process that loads the bundle: when it has, and after all batches. Without torch."""
    flags = [
        "--memory",
        str(bundle),
        "--threads",
        str(options.threads),
        "--sentences",
        str(options.sentences),
    ]
    command = [sys.executable, "-m", "tests.benchmarks.bench_imported", *flags]
    printed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    loaded, ran = map(float, printed.split())
    return loaded, ran


def _own_peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def print_memory(folder: Path, num_threads: int, num_sentences: int) -> None:
    before = _own_peak()
    bundle = Bundle.open(folder)
    runtime = Runtime(bundle, num_threads)
    loaded = _own_peak()
    for batch in Text(bundle, runtime, num_sentences).bulk():
        average(runtime, batch)
    print(loaded - before, _own_peak() - before)


def measure(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Print one size's rows."""
    cell, projection, num_highways = SIZES[name]
    source = write_source(folder, cell, projection, num_highways)
    imports = {dtype: import_seconds(source, folder / dtype, dtype) for dtype in ("float32", "float16")}
    sizes = {dtype: megabytes(folder / dtype) for dtype in imports}
    loaded, ran = peak_megabytes(folder / "float32", options)
    bundle = Bundle.open(folder / "float32")
    runtime = Runtime(bundle, options.threads)
    text, reference = Text(bundle, runtime, options.sentences), Torch(bundle)
    bulk, singles = text.bulk(), text.singles()
    for batch in (bulk[len(bulk) // 2], singles[-1]):
        check_same(runtime, reference, batch)
    best = best_of(
        options.rounds,
        {
            "matmul": matmul_session(options.threads),
            "bulk": lambda: [average(runtime, batch) for batch in bulk],
            "torch bulk": lambda: [reference.run(batch) for batch in bulk],
            "single": lambda: [average(runtime, batch) for batch in singles],
            "torch single": lambda: [reference.run(batch) for batch in singles],
            "new words": lambda: text.vectors(text.words),
            "known words": text.look_up_all,
        },
        time.process_time if options.cpu_time else time.perf_counter,
    )
    matmul_rate = 2 * MATMUL_SIZE**3 / best["matmul"]
    operations = 2 * NUM_LAYERS * 2 * (2 * 4 * cell * projection + cell * projection)
    cells = [f"{name}: {cell}/{projection}"]
    for run, batches in (("single", singles), ("bulk", bulk)):
        num_tokens = sum(batch.num_tokens for batch in batches)
        share = num_tokens * operations / best[run] / matmul_rate
        beside = best[f"torch {run}"] / best[run]
        cells += [f"{num_tokens / best[run]:,.0f}", f"{num_tokens / best[f'torch {run}']:,.0f}"]
        cells += [f"{beside:.2f}", f"{share:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)
    each = [best[run] / len(text.words) * 1e6 for run in ("new words", "known words")]
    print(
        f"| | imported in {imports['float32']:.1f} s (float16: {imports['float16']:.1f} s); bundle "
        f"{sizes['float32']:.0f} MB (float16: {sizes['float16']:.0f} MB); peak memory {loaded:.0f} MB when "
        f"loaded, {ran:.0f} MB after bulk; a new word {each[0]:.0f} us, a known one {each[1]:.1f} us; MatMul "
        f"{matmul_rate / 1e9:.0f} GFLOP/s | | | | | | | |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument(
        "--cpu-time", action="store_true", help="not seconds but those of the CPU: for a busy machine"
    )
    parser.add_argument("--size", choices=SIZES, action="append", help="may be repeated (default: all)")
    parser.add_argument("--memory", type=Path, metavar="BUNDLE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print_memory(options.memory, options.threads, options.sentences)
        return
    warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
    torch.set_num_threads(options.threads)
    unit = "tokens per second of CPU time" if options.cpu_time else "tokens/s"
    print(f"### Published ELMos, random weights: {options.threads} threads, {unit}\n")
    heads = [
        f"{run}{column}"
        for run in ("one sentence", "bulk")
        for column in ("", ", torch", ": x torch", ": of MatMul")
    ]
    print(f"| cell/projection | {' | '.join(heads)} |\n|---|{'---:|' * len(heads)}")
    for name in options.size or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, options, Path(folder))
    print()


if __name__ == "__main__":
    main()

"""Training speed of the shipped configuration, and how much of it comes from where.

One step takes a window of batch_size x bptt_length tokens through both directions, forward and back, clips
and applies. The naive step is the same arithmetic as a first draft would have it: float32, a full softmax
through autograd, every kernel on all threads, one direction after the other. All steps run on random token
ids with the frequencies of text (Zipf). With --profile, nothing is compared: where the CPU time of the
shipped step goes, by operation.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch._C._profiler import _ExperimentalConfig
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from model.bilm import BiLM, run_stack
from training.allocator import keep_freed_memory
from training.batches import Window
from training.config import Config, load_config
from training.network_step import NetworkStep

CONFIG = Path(__file__).parents[2] / "training" / "configs" / "enko.toml"
NUM_CHARACTERS = 600
MAX_TOKEN_CHARACTERS = 24


PROFILED_STEPS = 3
OPERATIONS = {
    "LSTM forward": ("aten::mkldnn_rnn_layer",),
    "LSTM backward": ("aten::mkldnn_rnn_layer_backward",),
    "copies and casts": ("aten::copy_", "aten::_to_copy", "aten::cat", "aten::fill_"),
    "matrix products (softmax, highway, projection)": ("aten::mm", "aten::addmm"),
    "convolutions": ("aten::mkldnn_convolution", "aten::convolution_backward"),
    "maximum over positions": ("aten::max", "aten::scatter_"),  # the way back writes where it stood
    "softmax": (
        "LinearCrossEntropy",
        "aten::_softmax",
        "aten::scatter_add_",
        "aten::gather",
        "aten::log",
        "aten::sub_",
    ),
    "AdamW": ("aten::_fused_adamw_",),
}
"""What torch's profiler calls the operations of each group; the rest is one group more."""


class ZipfCharacters:
    """Stands for `training.corpus.CharacterTable`: spellings of random length, as long as those of pieces."""

    def __init__(self, vocabulary_size: int, rng: np.random.Generator) -> None:
        self.lengths = np.clip(rng.poisson(6, vocabulary_size) + 2, 3, MAX_TOKEN_CHARACTERS)
        self._ids = rng.integers(1, NUM_CHARACTERS, (vocabulary_size, MAX_TOKEN_CHARACTERS)).astype(np.int32)

    def rows(self, token_ids_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        lengths_N1 = self.lengths[token_ids_N][:, None]
        columns_C = np.arange(lengths_N1.max())
        return np.where(columns_C < lengths_N1, self._ids[token_ids_N][:, columns_C], 0)


def random_windows(config: Config, rng: np.random.Generator) -> tuple[Window, Window]:
    training = config.training
    ranks = np.arange(config.tokenizer.vocabulary_size)
    frequencies = 1 / (ranks + 3)
    shape = (training.bptt_length + 1, training.batch_size)
    windows = []
    for _ in range(2):
        ids_TB = rng.choice(ranks, shape, p=frequencies / frequencies.sum()).astype(np.int64)
        windows.append(Window(ids_TB[:-1], ids_TB[1:], np.zeros(training.batch_size, dtype=bool)))
    return windows[0], windows[1]


def naive_step(model: BiLM, characters: ZipfCharacters, windows: tuple[Window, Window]) -> None:
    """float32, both directions in turn, autograd through everything."""
    losses = []
    for layers, window in zip(model.directions, windows, strict=True):
        distinct, inverse = np.unique(window.inputs_TB, return_inverse=True)
        table_ND = model.char_cnn(torch.from_numpy(characters.rows(distinct)))
        x_TBD = functional.embedding(torch.from_numpy(inverse.reshape(window.inputs_TB.shape)), table_ND)
        outputs, _ = run_stack(layers, x_TBD, [None] * len(layers), torch.nn.Identity())
        logits = functional.linear(outputs[-1].flatten(0, 1), model.softmax.weight, model.softmax.bias)  # type: ignore[arg-type]
        losses.append(functional.cross_entropy(logits, torch.from_numpy(window.targets_TB.ravel())))
    (losses[0] + losses[1]).backward()  # type: ignore[no-untyped-call]


def build(config: Config) -> BiLM:
    torch.manual_seed(1)
    return BiLM(config.architecture(NUM_CHARACTERS, config.tokenizer.vocabulary_size))


def fast_run(config: Config, precision: torch.dtype, characters: ZipfCharacters) -> Callable[[int], None]:
    model = build(config)
    dropout = config.training.dropout
    step = NetworkStep(model, characters, dropout=dropout, precision=precision, seed=1)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    rng = np.random.default_rng(1)

    def run(number: int) -> None:
        optimizer.zero_grad()
        step(random_windows(config, rng), number)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def naive_run(config: Config, characters: ZipfCharacters) -> Callable[[int], None]:
    full = replace(config, model=replace(config.model, adaptive_cutoffs=()))
    model = build(full)
    optimizer = torch.optim.AdamW(model.parameters())
    rng = np.random.default_rng(1)

    def run(_: int) -> None:
        optimizer.zero_grad()
        naive_step(model, characters, random_windows(full, rng))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="each step is timed this often; the best counts"
    )
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument(
        "--profile", action="store_true", help="print the CPU time of the shipped step by operation, no more"
    )
    options = parser.parse_args()
    config = load_config(options.config)
    num_threads = torch.get_num_threads()
    characters = ZipfCharacters(config.tokenizer.vocabulary_size, np.random.default_rng(0))
    if options.profile:
        print_profile(config, characters)
        return
    naive = best_of(options.rounds, {"naive": naive_run(config, characters)})["naive"]
    keep_freed_memory()  # as a real run does; it cannot be undone, so the naive step came first
    steps = {"as shipped (bfloat16, adaptive softmax)": fast_run(config, torch.bfloat16, characters)}
    torch.set_num_threads(1)
    best = best_of(options.rounds, steps)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best |= best_of(options.rounds, {"the same in float32": fast_run(config, torch.float32, characters)})
    best["naive (float32, full softmax)"] = naive
    step_tokens = config.training.batch_size * config.training.bptt_length
    print(f"### Training, {config.bundle.name}: {num_threads} threads, {step_tokens} tokens a step\n")
    print("| step | tokens/s | ratio |\n|---|---:|---:|")
    for name, seconds in best.items():
        print(f"| {name} | {step_tokens / seconds:,.0f} | {naive / seconds:.1f} |")
    print(f"\nPeak resident memory until then, the naive step included: {memory:,.0f} MB.\n")


def print_profile(config: Config, characters: ZipfCharacters) -> None:
    """What the profiler calls CPU time is time by the clock that a thread spends in an operation: on a
    machine with other work, only the shares mean anything.
    """
    keep_freed_memory()
    run = fast_run(config, torch.bfloat16, characters)
    torch.set_num_threads(1)
    run(0)
    # The directions run in threads of their own, which are profiled only when that is asked for.
    all_threads = _ExperimentalConfig(profile_all_threads=True)
    with profile(activities=[ProfilerActivity.CPU], experimental_config=all_threads) as profiled:
        for number in range(PROFILED_STEPS):
            run(number + 1)
    by_name = {
        event.key: event.self_cpu_time_total / 1000 / PROFILED_STEPS for event in profiled.key_averages()
    }
    total = sum(by_name.values())
    groups = {group: sum(by_name.get(name, 0.0) for name in names) for group, names in OPERATIONS.items()}
    groups["all else"] = total - sum(groups.values())
    step_tokens = config.training.batch_size * config.training.bptt_length
    print(f"### CPU time of a step, {config.bundle.name}: {step_tokens} tokens, all threads together\n")
    print("| operation | ms | share |\n|---|---:|---:|")
    for group, milliseconds in [*groups.items(), ("sum", total)]:
        print(f"| {group} | {milliseconds:,.0f} | {100 * milliseconds / total:.0f} % |")
    print()


def best_of(rounds: int, runs: dict[str, Callable[[int], None]]) -> dict[str, float]:
    """Return each run's best seconds, after one that is not timed."""
    best = dict.fromkeys(runs, float("inf"))
    for number in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run(number)
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best


if __name__ == "__main__":
    main()

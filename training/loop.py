"""The training loop: windows in, updates out, with held-out perplexity, checkpoints and a progress bar."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from model.bilm import BiLM
from training.batches import TokenStream
from training.checkpoint import (
    Progress,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)
from training.config import Config, TrainingConfig
from training.corpus import CharacterTable, PackedCorpus
from training.distributed import Processes
from training.evaluate import heldout_loss
from training.lineage import tokens_in_all
from training.network_step import NetworkStep
from training.piece_vectors import start_pieces, with_room_for_pieces
from training.static_vectors import Floats
from training.workspace import Workspace

FINAL_LEARNING_RATE = 0.01
"""The share of the learning rate that is left at the end of the decay."""

RECORD_EVERY_STEPS = 50

LOG_INTERVAL_S = 60.0
"""Between two states of the progress bar where it is not watched but written to a file."""

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def learning_rate(config: TrainingConfig, step: int, tokens: int) -> float:
    """Linear warm-up, a long constant stretch, a linear fall at the end.

    Constant in the middle, so that a run can be made longer without starting again: go on from the checkpoint
    before the fall (Hägele et al. 2024, arXiv:2405.18392).
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    decay_tokens = config.decay_fraction * config.total_tokens
    left = min(1.0, max(0.0, (config.total_tokens - tokens) / decay_tokens)) if decay_tokens else 1.0
    return config.learning_rate * warmup * (FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * left)


class Interrupt:
    """Turns Ctrl-C and SIGTERM into a flag, so that the step is finished and saved.

    A second Ctrl-C stops at once.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Interrupt:
        self._previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def _one_thread() -> Iterator[None]:
    """Spread no kernel of this thread over several threads, and do so again afterwards.

    The step's two threads are busy elsewhere when this one works, and such kernels wait for the slowest: on a
    machine with other work, many times longer than they compute.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """One run over a packed corpus. Equal seeds give equal losses, to the last bit, on equal machines."""

    def __init__(
        self,
        config: Config,
        workspace: Workspace,
        processes: Processes,
        initial: dict[str, torch.Tensor] | None,
        static_vectors_VW: Floats | None = None,
    ) -> None:
        """initial: weights to start from instead of random ones. static_vectors_VW: what the pieces' own
        vectors start as.

        Raises ValueError for a corpus below one batch.
        """
        training = config.training
        self.config, self.workspace, self.processes = config, workspace, processes
        corpus = PackedCorpus(workspace.train_path)
        tokenizer, alphabet = workspace.tokenizer, workspace.alphabet
        torch.manual_seed(training.seed)
        architecture = workspace.architecture(config)
        self.model = BiLM(architecture).to(processes.device)
        characters = CharacterTable(alphabet, tokenizer, corpus.unknown_surfaces)
        if initial is not None:
            self.model.load_state_dict(with_room_for_pieces(initial, architecture))
        if static_vectors_VW is not None:
            start_pieces(self.model, static_vectors_VW, characters)
        self.streams = [
            TokenStream(
                corpus,
                direction,
                batch_size=training.batch_size,
                bptt_length=training.bptt_length,
                reset_probability=training.reset_probability,
                seed=training.seed,
                tokens_before=0 if workspace.base is None else tokens_in_all(workspace.base["training"]),
                rows=processes.rows(training.batch_size),
            )
            for direction in ("forward", "backward")
        ]
        self.network_step = NetworkStep(
            self.model,
            characters,
            dropout=training.dropout,
            precision=PRECISIONS[training.precision],
            seed=training.seed,
            first_row=processes.rows(training.batch_size).start,
        )
        self.parameters = list(self.model.parameters())
        self.names: dict[torch.Tensor, str] = {p: name for name, p in self.model.named_parameters()}
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        self.heldout = [
            (
                CharacterTable(alphabet, tokenizer, packed.unknown_surfaces),
                packed.lines(training.evaluate_tokens),
            )
            for packed in workspace.heldout(config).values()
        ]
        self.progress = Progress(
            settings=asdict(training),
            fingerprint=workspace.fingerprint(config),
            texts=workspace.texts(config),
        )

    def resume(self) -> None:
        """Go on from the newest checkpoint. Raises ValueError when there is none, or it is another run's."""
        tensors, progress = load_checkpoint(self.workspace.checkpoint_path)
        if progress.fingerprint != self.progress.fingerprint:
            raise ValueError(
                f"{self.workspace.checkpoint_path}: belongs to another configuration or text; only "
                "total_tokens, the learning rate and its schedule, dropout, precision, evaluation and "
                "checkpoint intervals may change in mid-run"
            )
        for name, sha256 in self.progress.texts.items():
            # A run of before there were hashes has none to compare.
            if progress.texts.get(name, sha256) != sha256:
                raise ValueError(f"{self.workspace.checkpoint_path}: belongs to another {name}")
        needed = {*self.model.state_dict(), *(f"positions.{i}" for i in range(len(self.streams)))}
        if missing := sorted(needed - tensors.keys()):
            raise ValueError(f"{self.workspace.checkpoint_path}: cannot be resumed: {missing[0]} is missing")
        progress.texts = self.progress.texts
        self.progress = progress
        progress.settings = asdict(self.config.training)
        self.model.load_state_dict({name: tensors[name] for name in self.model.state_dict()})
        load_optimizer_tensors(self.optimizer, self.names, tensors)
        rows = self.streams[0].rows
        states = {
            name: t[:, rows.start : rows.stop] for name, t in tensors.items() if name.startswith("state.")
        }
        self.network_step.load_state_tensors(states)
        for i, stream in enumerate(self.streams):
            stream.positions[:] = tensors[f"positions.{i}"][rows.start : rows.stop].numpy()

    def run(self) -> bool:
        """Train to the end. Returns False when it was interrupted; the checkpoint is then up to date.

        Raises ValueError when the loss is no longer a number.
        """
        training, progress = self.config.training, self.progress
        if self.processes.is_first:
            # A run killed before its first checkpoint starts again, and leaves a record of the first attempt.
            self.workspace.cut_record(progress.step)
        last_saved = time.monotonic()
        bar = tqdm(
            total=training.total_tokens,
            initial=progress.tokens,
            unit=" tokens",
            unit_scale=True,
            disable=not self.processes.is_first,
            smoothing=0.05,
            mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
        )
        with Interrupt() as interrupt, _one_thread(), bar:
            while progress.tokens < training.total_tokens and not self._is_stale():
                started, tokens_before = time.monotonic(), progress.tokens
                self._step(bar)
                if (
                    progress.step % training.evaluate_every_steps == 0
                    or progress.tokens >= training.total_tokens
                ):
                    self._evaluate(bar)
                progress.seconds += time.monotonic() - started
                if tokens_before < self._decay_start <= progress.tokens < training.total_tokens:
                    self._save(self.workspace.stable_checkpoint_path)
                stop, due = self.processes.sum(
                    [interrupt.requested, time.monotonic() - last_saved >= training.checkpoint_every_s]
                )
                if stop or due:
                    self._save(self.workspace.checkpoint_path)
                    last_saved = time.monotonic()
                if stop:
                    return False
        self._save(self.workspace.checkpoint_path)
        return True

    @property
    def _decay_start(self) -> float:
        return (1 - self.config.training.decay_fraction) * self.config.training.total_tokens

    def _is_stale(self) -> bool:
        patience = self.config.training.patience
        return patience > 0 and self.progress.evaluations_since_best >= patience

    def _step(self, bar: Any) -> None:
        progress, training = self.progress, self.config.training
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(training, progress.step, progress.tokens)
        windows = (self.streams[0].window(progress.step), self.streams[1].window(progress.step))
        self.optimizer.zero_grad()
        result = self.network_step(windows, progress.step)
        self.processes.average_gradients(self.parameters)
        gradient_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, training.clip_norm))
        forward, backward, count = self.processes.sum([*result.losses, result.num_predictions])
        losses = {"forward": forward / count, "backward": backward / count}
        if not all(map(math.isfinite, (*losses.values(), gradient_norm))):
            # Before the update, so that no checkpoint ever holds weights that are not numbers.
            raise ValueError(f"the loss is not finite at step {progress.step}: lower training.learning_rate")
        self.optimizer.step()
        progress.step += 1
        progress.tokens += int(count)
        bar.update(int(count))
        bar.set_postfix(
            {f"{d} ppl": f"{math.exp(min(loss, 20)):.1f}" for d, loss in losses.items()}, refresh=False
        )
        if self.processes.is_first and (progress.step % RECORD_EVERY_STEPS == 0 or progress.step == 1):
            entry = {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1)}
            self.workspace.append_record({**entry, **losses, "gradient_norm": gradient_norm})

    def _evaluate(self, bar: Any) -> None:
        """Measure held-out loss, keep the best weights, count the evaluations since."""
        progress = self.progress
        loss = 0.0
        if self.processes.is_first:
            self.model.eval()
            precision = self.network_step.precision
            losses = [heldout_loss(self.model, table, lines, precision) for table, lines in self.heldout]
            self.model.train()
            loss = sum(part.mean for part in losses) / len(losses)
        (loss,) = self.processes.sum([loss])
        is_best = progress.best_loss is None or loss < progress.best_loss
        progress.best_loss = loss if is_best else progress.best_loss
        progress.evaluations_since_best = 0 if is_best else progress.evaluations_since_best + 1
        if self.processes.is_first:
            if is_best:
                save_checkpoint(self.workspace.best_path, self.model.state_dict(), progress)
            self.workspace.append_record({"step": progress.step, "tokens": progress.tokens, "heldout": loss})
            bar.write(f"step {progress.step}: held-out perplexity per token {math.exp(min(loss, 20)):.2f}")

    def _save(self, path: Path) -> None:
        gather = self.processes.gather_rows
        positions = {
            f"positions.{i}": gather(torch.from_numpy(stream.positions).to(self.processes.device), 0)
            for i, stream in enumerate(self.streams)
        }
        states = {name: gather(state, 1) for name, state in self.network_step.state_tensors().items()}
        if self.processes.is_first:
            moments = optimizer_tensors(self.optimizer, self.names)
            tensors = {**self.model.state_dict(), **moments, **states, **positions}
            save_checkpoint(path, tensors, self.progress)

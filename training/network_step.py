"""One training step of the network: from two windows of token ids to gradients.

The character CNN runs once for every distinct token of the batch, whichever direction reads it. The
directions share nothing else but the softmax, so on a CPU each runs in a thread of its own with
single-threaded kernels: no kernel waits for another core, which makes the step faster on an idle machine and,
above all, keeps it from collapsing on a busy one (training/LOG.md, 2026-11-20).

Shape letters: B rows, T tokens of a window, N distinct tokens, C characters, D token-vector dim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from model.bilm import BiLM, State, run_stack
from model.softmax import PADDED_ROWS
from training.batches import Window
from training.corpus import CharacterTable

Item = TypeVar("Item")
Result = TypeVar("Result")

NUM_DIRECTIONS = 2

PADDED_CHARACTERS = 2
"""Spellings are padded to a multiple of this, for the reason given at PADDED_ROWS."""


@dataclass
class StepResult:
    """What one step's window gave."""

    losses: tuple[float, float]  # of each direction: negative log-likelihood in nats, summed over the window
    num_predictions: int  # of each direction


class LockedDropout:
    """One mask for all tokens of a window (Gal and Ghahramani 2016, arXiv:1512.05287).

    It has a generator of its own: two threads that share torch's would draw in no certain order.
    """

    def __init__(self, probability: float, seed: Sequence[int], device: torch.device) -> None:
        self.probability = probability
        self.device = device
        if probability:
            state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
            self.generator = torch.Generator(device).manual_seed(state)

    def __call__(self, x_TBD: Tensor) -> Tensor:
        if not self.probability:
            return x_TBD
        mask_1BD = torch.empty((1, *x_TBD.shape[1:]), dtype=x_TBD.dtype, device=self.device)
        mask_1BD.bernoulli_(1 - self.probability, generator=self.generator)
        return x_TBD * mask_1BD.div_(1 - self.probability)


class NetworkStep:
    """Computes gradients, and carries the recurrent states from one step to the next."""

    def __init__(
        self,
        model: BiLM,
        characters: CharacterTable,
        *,
        dropout: float,
        precision: torch.dtype,
        seed: int,
        first_row: int = 0,
    ) -> None:
        """first_row: of those that this process reads, so that no two processes drop the same."""
        self.model = model
        self.characters = characters
        self.dropout, self.precision = dropout, precision
        self.seed = (seed, first_row)
        self.device = next(model.parameters()).device
        self.states: list[list[State | None]] = [
            [None] * model.architecture.num_layers for _ in range(NUM_DIRECTIONS)
        ]
        self._threads: ThreadPoolExecutor | None = None
        if self.device.type == "cpu":
            one_each = max(1, torch.get_num_threads() // NUM_DIRECTIONS)
            self._threads = ThreadPoolExecutor(
                NUM_DIRECTIONS, initializer=torch.set_num_threads, initargs=(one_each,)
            )

    def __call__(self, windows: tuple[Window, Window], step: int) -> StepResult:
        """Add the gradients of the mean loss over both directions' predictions to the parameters' `.grad`."""
        ids = [window.inputs_TB for window in windows]
        distinct_N, inverse = np.unique(np.concatenate([part.ravel() for part in ids]), return_inverse=True)
        indices = [part.reshape(ids[0].shape) for part in np.split(inverse.ravel(), NUM_DIRECTIONS)]

        shares = _even_shares(self.characters.lengths[distinct_N], NUM_DIRECTIONS if self._threads else 1)
        vectors = self._map(self._encode, [[distinct_N[part] for part in share] for share in shares])
        order_N = np.concatenate([part for share in shares for part in share])
        position_N = np.empty_like(order_N)
        position_N[order_N] = np.arange(len(order_N))

        # float32: the gradient of a frequent token is a sum over hundreds of places.
        table_ND = torch.cat([part.detach() for part in vectors]).float()
        jobs = [
            (direction, window, table_ND.clone().requires_grad_(), position_N[index_TB], step)
            for direction, (window, index_TB) in enumerate(zip(windows, indices, strict=True))
        ]
        losses = self._map(self._run_direction, jobs)
        gradient_ND = jobs[0][2].grad + jobs[1][2].grad  # type: ignore[operator]  # both have run backward
        gradients = gradient_ND.to(vectors[0].dtype).split([len(part) for part in vectors])
        self._map(_backward, list(zip(vectors, gradients, strict=True)))
        return StepResult((losses[0], losses[1]), ids[0].size)

    def _map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        return list(self._threads.map(function, items) if self._threads else map(function, items))

    def _autocast(self) -> torch.autocast:
        enabled = self.precision != torch.float32
        # torch keeps one cache of cast weights for all threads, and a thread that leaves autocast empties it:
        # with it, what is summed in bfloat16 depends on which thread is faster, and equal seeds give unequal
        # losses.
        return torch.autocast(self.device.type, dtype=self.precision, enabled=enabled, cache_enabled=False)

    def _encode(self, parts: list[npt.NDArray[np.int64]]) -> Tensor:
        """Run the character CNN over token ids, part by part because each is padded to its own longest."""
        with self._autocast():
            return torch.cat([self._encode_part(part) for part in parts])

    def _encode_part(self, token_ids_N: npt.NDArray[np.int64]) -> Tensor:
        """Return (N, D), computed with N and C rounded up: a new shape costs more than its padding."""
        rows_NC = self.characters.rows(token_ids_N)
        num_tokens, longest = rows_NC.shape
        padding = (0, -num_tokens % PADDED_ROWS), (0, -longest % PADDED_CHARACTERS)
        padded_NC = torch.from_numpy(np.pad(rows_NC, padding)).to(self.device)
        piece_ids_N = np.pad(self.characters.piece_ids[token_ids_N], padding[0])
        return self.model.token_vectors(padded_NC, torch.from_numpy(piece_ids_N).to(self.device))[:num_tokens]

    def _run_direction(self, job: tuple[int, Window, Tensor, npt.NDArray[np.int64], int]) -> float:
        direction, window, table_ND, index_TB, step = job
        dropout = LockedDropout(self.dropout, (*self.seed, step, direction), self.device)
        index = torch.from_numpy(index_TB).to(self.device)
        starts_B = torch.from_numpy(window.starts_B).to(self.device)
        states = [_restart(state, starts_B) for state in self.states[direction]]
        with self._autocast():
            x_TBD = functional.embedding(index, table_ND)
            outputs, new_states = run_stack(self.model.directions[direction], x_TBD, states, dropout)
            targets_N = torch.from_numpy(window.targets_TB.ravel()).to(self.device)
            loss = self.model.softmax.negative_log_likelihood(dropout(outputs[-1]).flatten(0, 1), targets_N)
        self.states[direction] = [_detach(state) for state in new_states]
        (loss / (NUM_DIRECTIONS * len(targets_N))).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def state_tensors(self) -> dict[str, Tensor]:
        """Return the carried states by name, for a checkpoint."""
        tensors: dict[str, Tensor] = {}
        for direction, states in enumerate(self.states):
            for layer, state in enumerate(states):
                parts = () if state is None else (state,) if isinstance(state, Tensor) else state
                tensors |= {f"state.{direction}.{layer}.{i}": part for i, part in enumerate(parts)}
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        exact = self.precision == torch.float32  # without autocast, cells take states of their own dtype only
        for direction, states in enumerate(self.states):
            for layer in range(len(states)):
                parts = [
                    tensors[name].to(self.device, self.precision if exact else tensors[name].dtype)
                    for i in range(2)
                    if (name := f"state.{direction}.{layer}.{i}") in tensors
                ]
                states[layer] = None if not parts else parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _even_shares(lengths_N: npt.NDArray[np.int64], num_shares: int) -> list[list[npt.NDArray[np.int64]]]:
    """Deal tokens into shares of about equal work, each a few parts of tokens of like length.

    Each part is padded to its own longest token only, and most tokens are short: four parts instead of one
    halve the padding. They are dealt in the order 0 1 1 0 0 1 1 0.
    """
    part_size = math.ceil(len(lengths_N) / (4 * num_shares * PADDED_ROWS)) * PADDED_ROWS
    order_N = np.argsort(lengths_N, kind="stable")
    shares: list[list[npt.NDArray[np.int64]]] = [[] for _ in range(num_shares)]
    for i, start in enumerate(range(0, len(order_N), part_size)):
        turn, seat = divmod(i, num_shares)
        shares[seat if turn % 2 == 0 else num_shares - 1 - seat].append(order_N[start : start + part_size])
    return [share for share in shares if share]


def _backward(job: tuple[Tensor, Tensor]) -> None:
    vectors_ND, gradient_ND = job
    vectors_ND.backward(gradient_ND)  # type: ignore[no-untyped-call]


def _restart(state: State | None, starts_B: Tensor) -> State | None:
    """Return the state with 0 in the rows that begin anew."""
    if state is None:
        return None
    if isinstance(state, tuple):
        h, c = (part * ~starts_B[:, None] for part in state)
        return h, c
    return state * ~starts_B[:, None]


def _detach(state: Any) -> State:
    """Cut the gradient: the next window starts from these numbers, not from this graph."""
    if isinstance(state, tuple):
        return state[0].detach(), state[1].detach()
    detached: Tensor = state.detach()
    return detached

"""The training step written plainly: one thread, every token encoded where it stands, torch's own loss.

Shape letters: B rows, T tokens of a window, N tokens or predictions, C characters, D token-vector dim,
H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.architecture import Architecture, Cell
from model.bilm import BiLM, State, run_stack
from training.batches import TokenStream, Window
from training.corpus import CharacterTable, PackedCorpus
from training.network_step import NetworkStep
from training.workspace import Workspace

T, B, HIDDEN_DIM, NUM_LAYERS = 6, 4, 16, 2

Windows = tuple[Window, Window]
Gradients = dict[str, Tensor]


class Material:
    """Text to train on, and the networks and windows that fit it."""

    def __init__(self, workspace: Workspace) -> None:
        self.corpus = PackedCorpus(workspace.train_path)
        self.characters = CharacterTable(
            workspace.alphabet, workspace.tokenizer, self.corpus.unknown_surfaces
        )
        self._num_characters = workspace.alphabet.num_characters

    def model(
        self,
        cell: Cell = "lstm",
        cutoffs: tuple[int, ...] = (200, 600),
        hidden_dim: int = HIDDEN_DIM,
        word_dim: int = 0,
    ) -> BiLM:
        """Return a new network, always with the same weights."""
        torch.manual_seed(1)
        return BiLM(
            Architecture(
                cell=cell,
                num_layers=NUM_LAYERS,
                hidden_dim=hidden_dim,
                character_dim=4,
                num_characters=self._num_characters,
                filters=((1, 6), (2, 6), (3, 8)),
                num_highways=1,
                vocabulary_size=self.corpus.vocabulary_size,
                adaptive_cutoffs=cutoffs,
                adaptive_div_value=2.0,
                word_vocabulary_size=self.corpus.vocabulary_size if word_dim else 0,
                word_dim=word_dim,
            )
        )

    def step(
        self,
        model: BiLM,
        *,
        dropout: float = 0.0,
        precision: torch.dtype = torch.float32,
        seed: int = 1,
        first_row: int = 0,
    ) -> NetworkStep:
        return NetworkStep(
            model, self.characters, dropout=dropout, precision=precision, seed=seed, first_row=first_row
        )

    def windows(self, count: int, reset_probability: float = 0.0) -> list[Windows]:
        settings: dict[str, Any] = {"batch_size": B, "bptt_length": T, "seed": 1}
        settings["reset_probability"] = reset_probability
        forward = TokenStream(self.corpus, "forward", **settings)
        backward = TokenStream(self.corpus, "backward", **settings)
        return [(forward.window(step), backward.window(step)) for step in range(count)]


@dataclass
class Plain:
    """What the plain implementation gives for one window."""

    losses: list[Tensor]  # of each direction: summed over the window
    outputs: list[list[Tensor]]  # of each direction: every layer's (T, B, H)
    states: list[list[State]]  # of each direction: every layer's, at the end


def plain_run(
    model: BiLM,
    characters: CharacterTable,
    windows: Windows,
    states: Sequence[Sequence[State | None]] = ((None,) * NUM_LAYERS,) * 2,
    dropouts: Sequence[Callable[[Tensor], Tensor]] = (nn.Identity(), nn.Identity()),
) -> Plain:
    plain = Plain([], [], [])
    for window, layers, given, dropout in zip(windows, model.directions, states, dropouts, strict=True):
        ids_N = window.inputs_TB.ravel()
        piece_ids_N = torch.from_numpy(characters.piece_ids[ids_N])
        vectors_ND = model.token_vectors(torch.from_numpy(characters.rows(ids_N)), piece_ids_N)
        x_TBD = vectors_ND.reshape(*window.inputs_TB.shape, -1)
        outputs, final = run_stack(layers, x_TBD, given, dropout)
        log_probabilities_NV = model.softmax.log_probabilities(dropout(outputs[-1]).flatten(0, 1))
        targets_N = torch.from_numpy(window.targets_TB.ravel())
        plain.losses.append(nn.functional.nll_loss(log_probabilities_NV, targets_N, reduction="sum"))
        plain.outputs.append(outputs)
        plain.states.append(final)
    return plain


def plain_gradients(model: BiLM, losses: Sequence[Tensor], num_predictions: int) -> Gradients:
    """Return the gradients of the mean over both directions' predictions."""
    named = dict(model.named_parameters())
    mean = (losses[0] + losses[1]) / (2 * num_predictions)
    found = torch.autograd.grad(mean, list(named.values()), materialize_grads=True, retain_graph=True)
    return dict(zip(named, found, strict=True))


def taken(model: BiLM) -> Gradients:
    """Return the gradients that steps have left, and take them away."""
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    assert all(gradient is not None for gradient in gradients.values())
    return {name: gradient for name, gradient in gradients.items() if gradient is not None}


def largest_difference(ours: Gradients, theirs: Gradients) -> float:
    """Return the largest difference of any parameter's gradient, relative to its largest number."""
    assert ours.keys() == theirs.keys()
    return max(
        ((ours[name] - theirs[name]).abs().max() / theirs[name].abs().max().clamp_min(1e-30)).item()
        for name in theirs
    )


def detached(states: list[list[State]]) -> list[list[State]]:
    return [[_detached(state) for state in direction] for direction in states]


def _detached(state: State) -> State:
    return (state[0].detach(), state[1].detach()) if isinstance(state, tuple) else state.detach()


def parts(state: State | None) -> list[Tensor]:
    assert state is not None
    return list(state) if isinstance(state, tuple) else [state]

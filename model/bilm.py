"""The bidirectional language model: two recurrent stacks that never see each other.

Shape letters: B sentences, T tokens (boundaries included), D token-vector dim, H hidden (D = H), L layers of
a reply = recurrent layers + 1.
Source: Peters et al. 2018, "Deep contextualized word representations" (arXiv:1802.05365), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from model.architecture import Architecture, Cell
from model.char_cnn import CharCNN
from model.softmax import build_softmax

State = Tensor | tuple[Tensor, Tensor]
"""What a recurrent layer carries from one token to the next: h (1, B, H), for an LSTM with c (1, B, H)."""

_CELLS: dict[Cell, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def run_stack(
    layers: Iterable[nn.Module],
    x_TBD: Tensor,
    states: Iterable[State | None],
    dropout: Callable[[Tensor], Tensor],
) -> tuple[list[Tensor], list[State]]:
    """Run one direction's recurrent layers over tokens in its own reading order.

    x_TBD: token vectors; states: one for each layer, None for zeros; dropout: applied to every layer's input.
    Returns each layer's (T, B, H) output, from the second on with the residual connection, and the new
    states. The recurrent state is the cell's own output, without what the residual connection adds.
    """
    outputs: list[Tensor] = []
    new_states: list[State] = []
    inputs = x_TBD
    for layer, state in zip(layers, states, strict=True):
        output, new_state = layer(dropout(inputs), state)
        inputs = output + inputs if outputs else output
        outputs.append(inputs)
        new_states.append(new_state)
    return outputs, new_states


def reverse_sentences(x_TBD: Tensor, lengths_B: Tensor) -> Tensor:
    """Turn each sentence round within its own length; what lies beyond stays where it is."""
    positions_T1 = torch.arange(x_TBD.shape[0], device=x_TBD.device).unsqueeze(1)
    mirrored_TB = lengths_B - 1 - positions_T1
    index_TB = torch.where(mirrored_TB >= 0, mirrored_TB, positions_T1)
    return x_TBD.gather(0, index_TB.unsqueeze(2).expand_as(x_TBD))


class BiLM(nn.Module):
    """Character CNN, forward and backward stack, and the softmax that both share."""

    def __init__(self, architecture: Architecture) -> None:
        """Raises ValueError for a network that was imported (`Architecture.check_trainable`)."""
        architecture.check_trainable()
        super().__init__()
        self.architecture = architecture
        self.char_cnn = CharCNN(architecture)
        self.word_embedding: nn.Embedding | None = None
        if architecture.word_dim:
            self.word_embedding = nn.Embedding(architecture.word_vocabulary_size, architecture.word_dim)
        self.forward_layers = self._stack()
        self.backward_layers = self._stack()
        self.softmax = build_softmax(architecture)

    def _stack(self) -> nn.ModuleList:
        hidden_dim = self.architecture.hidden_dim
        cell = _CELLS[self.architecture.cell]
        return nn.ModuleList(cell(hidden_dim, hidden_dim) for _ in range(self.architecture.num_layers))

    def token_vectors(self, char_ids_NC: Tensor, piece_ids_N: Tensor | None) -> Tensor:
        """Return layer 0 (N, D). piece_ids_N: in [0, V), read where pieces have vectors of their own."""
        pieces_NW = self.word_embedding(piece_ids_N) if self.word_embedding is not None else None
        vectors_ND: Tensor = self.char_cnn(char_ids_NC, pieces_NW)
        return vectors_ND

    @property
    def directions(self) -> tuple[nn.ModuleList, nn.ModuleList]:
        return self.forward_layers, self.backward_layers

    def forward(self, x_TBD: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the layers (L, T, B, 2H) of whole sentences, forward half first; 0 beyond their lengths.

        x_TBD: token vectors with a boundary at each end; lengths_B: int64, boundaries counted. Sentences do
        not depend on each other: the forward stack meets padding only after the sentence, and the backward
        stack reads each sentence turned round within its own length.
        """
        none = [None] * self.architecture.num_layers
        mask_TB1 = (torch.arange(x_TBD.shape[0], device=x_TBD.device).unsqueeze(1) < lengths_B).unsqueeze(2)
        forward, _ = run_stack(self.forward_layers, x_TBD, none, nn.Identity())
        reversed_x = reverse_sentences(x_TBD, lengths_B)
        backward, _ = run_stack(self.backward_layers, reversed_x, none, nn.Identity())
        halves = [(x_TBD, x_TBD)]
        halves += [(f, reverse_sentences(b, lengths_B)) for f, b in zip(forward, backward, strict=True)]
        return torch.stack([torch.cat(pair, dim=2) * mask_TB1 for pair in halves])

"""The character CNN: a token's characters become its vector (layer 0).

Shape letters: N tokens in a row, C characters, E character dim, F filters, W dim of a piece's
own vector, D token-vector dim.
Source: Kim et al. 2016 (arXiv:1508.06615); filters and highway layers as in Peters et al. 2018
(arXiv:1802.05365).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.architecture import Architecture
from model.characters import PADDING


class Highway(nn.Module):
    """x <- g * relu(transform(x)) + (1 - g) * x, with g = sigmoid(gate(x)).

    Source: Srivastava et al. 2015 (arXiv:1505.00387).
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.transform = nn.Linear(dimension, dimension)
        self.gate = nn.Linear(dimension, dimension)
        # Starts by carrying its input; -2 is the value of the published ELMo.
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, x_NF: Tensor) -> Tensor:
        gate_NF = torch.sigmoid(self.gate(x_NF))
        transformed_NF = functional.relu(self.transform(x_NF))
        return x_NF + gate_NF * (transformed_NF - x_NF)


class CharCNN(nn.Module):
    """Map each token's characters to one vector; neighbouring tokens are never seen."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.character_embedding = nn.Embedding(
            architecture.num_characters, architecture.character_dim, padding_idx=PADDING
        )
        self.convolutions = nn.ModuleList(
            nn.Conv1d(architecture.character_dim, count, width) for width, count in architecture.filters
        )
        num_filters = architecture.num_filters
        self.highways = nn.ModuleList(Highway(num_filters) for _ in range(architecture.num_highways))
        self.projection = nn.Linear(architecture.projection_inputs, architecture.hidden_dim)

    def forward(self, char_ids_NC: Tensor, pieces_NW: Tensor | None = None) -> Tensor:
        """Return (N, D); tokens made only of padding are exactly 0.

        char_ids_NC: int in [0, num_characters), 0 = padding, all of it on the right. C does not matter: every
        filter also sees one window of padding alone, so further padding cannot change the maximum.
        pieces_NW: the tokens' own vectors, if pieces have them.
        """
        e_NEC = self.character_embedding(char_ids_NC).transpose(1, 2)
        pooled = []
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            assert convolution.bias is not None
            padded = functional.pad(e_NEC, (0, convolution.kernel_size[0]))
            # The bias is the same at every position, so it is added once, after the maximum.
            maxima_Nf = functional.conv1d(padded, convolution.weight).max(dim=2).values
            pooled.append(functional.relu(maxima_Nf + convolution.bias))
        x_NF = torch.cat(pooled, dim=1)
        for highway in self.highways:
            x_NF = highway(x_NF)
        if pieces_NW is not None:
            x_NF = torch.cat([pieces_NW.to(x_NF.dtype), x_NF], dim=1)
        has_characters_N1 = (char_ids_NC != PADDING).any(dim=1, keepdim=True)
        vectors_ND: Tensor = self.projection(x_NF) * has_characters_N1
        return vectors_ND

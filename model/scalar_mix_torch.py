"""The scalar mix as a torch module, for a network of one's own that is trained on served layers.

`served` is the reply of POST /v1/embed to {"inputs": [...], "layer": "all", "pool": "sentence"}; the last
line is the body of PUT /v1/tasks/mine, after which requests may name the mix:

    layers_BLD = torch.tensor([item["vectors"] for item in served["embeddings"]]).squeeze(2)
    mix, head = ScalarMix(layers_BLD.shape[1]), nn.Linear(layers_BLD.shape[2], num_labels)
    loss = nn.functional.cross_entropy(head(mix(layers_BLD)), labels_B)
    loss.backward()  # and so on, with an optimiser over both
    document = mix.document("mine", "classify", model=served["model"], model_sha256=sha256)

Source: Peters et al. 2018 (arXiv:1802.05365), equation 1. Shape letters: L layers, D vector dim.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from model.tasks.task import Kind, Task


class ScalarMix(nn.Module):
    """gamma * sum over l of softmax(scalars)_l * layer l; 0 and 1 before training: the layers' mean."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers: expected at least 1, got {num_layers}")
        self.scalars = nn.Parameter(torch.zeros(num_layers))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, layers: Tensor) -> Tensor:
        """Return (..., D) of (..., L, D), in its dtype. Raises ValueError when L is another."""
        num_layers = len(self.scalars)
        if layers.ndim < 2 or layers.shape[-2] != num_layers:
            raise ValueError(f"layers: expected (..., {num_layers}, D), got {tuple(layers.shape)}")
        weights_L = torch.softmax(self.scalars, dim=0).to(layers.dtype)
        return self.gamma.to(layers.dtype) * torch.einsum("l,...ld->...d", weights_L, layers)

    def document(self, name: str, kind: Kind, *, model: str, model_sha256: str) -> dict[str, Any]:
        """Return the body of a PUT that serves this mix under a name; the caller keeps the head.

        model_sha256: of the model whose layers were mixed. Raises ValueError for what would be refused.
        """
        scalars = tuple(map(float, self.scalars.detach().double()))
        document = Task(name, kind, model, model_sha256, scalars, float(self.gamma.detach())).to_document()
        Task.from_document(document)
        return document

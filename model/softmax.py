"""The language model's output layer, shared by both directions: exact probabilities of the next token.

Shape letters: N predictions, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from model.architecture import Architecture

TINY = torch.finfo(torch.float32).tiny
"""Stands for a probability that rounds to 0, whose logarithm would not be a number to train on."""


PADDED_ROWS = 64
"""Tails get a multiple of this many rows. The library behind torch's matrix products (oneDNN) compiles a
kernel for each new shape and keeps it: a count of rows that is new in every step costs time and memory
without end."""


class LinearCrossEntropy(torch.autograd.Function):
    """cross_entropy(x @ weight.T + bias, targets, reduction="sum"), with its gradients computed on the way.

    The gradient of the logits is softmax - one-hot, so it can be had while a few rows' logits are still in
    the cache, in the precision of the matrix product; autograd would keep all logits and pass over them in
    float32 half a dozen times. x may have more rows than there are targets: they are padding, and count for
    nothing.
    """

    ROWS = 512  # logits of this many rows at a time: 2 MB in bfloat16 for a head of 2,000

    @staticmethod
    def forward(
        ctx: FunctionCtx, x_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, targets_N: Tensor
    ) -> Tensor:
        """Return the float32 sum over N, in nats; multiplies in x_NH's dtype, or in autocast's."""
        device = x_NH.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_NH.dtype
        with torch.autocast(device, enabled=False):
            weight = weight_VH.to(dtype)
            bias = weight.new_zeros(len(weight)) if bias_V is None else bias_V.to(dtype)
            d_x = torch.empty_like(x_NH, dtype=dtype)
            d_weight, d_bias = torch.zeros_like(weight_VH), weight_VH.new_zeros(len(weight))
            total = weight_VH.new_zeros((), dtype=torch.float32)
            for start in range(0, len(x_NH), LinearCrossEntropy.ROWS):
                rows = slice(start, start + LinearCrossEntropy.ROWS)
                x, targets_n1 = x_NH[rows].to(dtype), targets_N[rows].unsqueeze(1)
                probabilities = torch.softmax(torch.addmm(bias, x, weight.t()), dim=1)
                total -= probabilities.gather(1, targets_n1).float().clamp_min(TINY).log().sum()
                d_logits = probabilities.scatter_add_(
                    1, targets_n1, -probabilities.new_ones(targets_n1.shape)
                )
                d_logits[len(targets_n1) :] = 0
                torch.mm(d_logits, weight, out=d_x[rows])
                d_weight += d_logits.t() @ x
                d_bias += d_logits.sum(dim=0, dtype=d_bias.dtype)
        ctx.save_for_backward(d_x.to(x_NH.dtype), d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        d_x, d_weight, d_bias = ctx.saved_tensors
        return (
            d_x * scale,  # not in d_x.dtype: bfloat16 would round the scale
            d_weight * scale,
            d_bias * scale if ctx.needs_input_grad[2] else None,
            None,
        )


def _cross_entropy(layer: nn.Linear, x_NH: Tensor, targets_N: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return functional.cross_entropy(layer(x_NH[: len(targets_N)]).float(), targets_N, reduction="sum")
    total: Tensor = LinearCrossEntropy.apply(x_NH, layer.weight, layer.bias, targets_N)  # type: ignore[no-untyped-call]
    return total


class FullSoftmax(nn.Linear):
    """One linear layer over the whole vocabulary."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture.hidden_dim, architecture.vocabulary_size)

    def negative_log_likelihood(self, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
        """Return the float32 sum over N, in nats."""
        return _cross_entropy(self, hidden_NH, targets_N)

    def log_probabilities(self, hidden_NH: Tensor) -> Tensor:
        """Return float32 (N, V)."""
        return functional.log_softmax(self(hidden_NH).float(), dim=1)


class AdaptiveSoftmax(nn.Module):
    """Frequent pieces in a head, rare ones in tails that the head chooses as a whole.

    Every prediction pays for the head, and only those of rare pieces for a small tail. It is exact: the
    probabilities of all V pieces sum to 1. Ids must be sorted by frequency, as SentencePiece's are.
    Source: Grave et al. 2017 (arXiv:1609.04309). Parameters are named and shaped as those of
    torch.nn.AdaptiveLogSoftmaxWithLoss, which itself does not run under CPU autocast (it copies bfloat16
    results into a float32 tensor).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.tails = architecture.tails
        self.head_size = architecture.adaptive_cutoffs[0]
        hidden_dim = architecture.hidden_dim
        self.head = nn.Linear(hidden_dim, self.head_size + len(self.tails))
        self.tail = nn.ModuleList(
            nn.Sequential(
                nn.Linear(hidden_dim, tail.dim, bias=False), nn.Linear(tail.dim, tail.size, bias=False)
            )
            for tail in self.tails
        )

    def negative_log_likelihood(self, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
        """Return the float32 sum over N, in nats."""
        head_targets_N = targets_N.clone()
        total = hidden_NH.new_zeros((), dtype=torch.float32)
        for i, (tail, layers) in enumerate(zip(self.tails, self.tail, strict=True)):
            rows = ((targets_N >= tail.low) & (targets_N < tail.high)).nonzero().squeeze(1)
            head_targets_N[rows] = self.head_size + i
            padded = functional.pad(rows, (0, -len(rows) % PADDED_ROWS))
            projection, output = layers.children()
            assert isinstance(output, nn.Linear)
            total = total + _cross_entropy(output, projection(hidden_NH[padded]), targets_N[rows] - tail.low)
        return total + _cross_entropy(self.head, hidden_NH, head_targets_N)

    def log_probabilities(self, hidden_NH: Tensor) -> Tensor:
        """Return float32 (N, V)."""
        head = functional.log_softmax(self.head(hidden_NH).float(), dim=1)
        parts = [head[:, : self.head_size]]
        for i, layers in enumerate(self.tail):
            chosen_N1 = head[:, self.head_size + i].unsqueeze(1)
            parts.append(chosen_N1 + functional.log_softmax(layers(hidden_NH).float(), dim=1))
        return torch.cat(parts, dim=1)


def build_softmax(architecture: Architecture) -> FullSoftmax | AdaptiveSoftmax:
    return AdaptiveSoftmax(architecture) if architecture.adaptive_cutoffs else FullSoftmax(architecture)

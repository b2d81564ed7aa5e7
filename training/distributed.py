"""Several processes of one run, as `torchrun` starts them: gloo on CPUs, NCCL on GPUs.

Every process reads its own rows of the batch and holds the whole network; gradients are averaged over the
processes before each update, so all of them stay equal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import timedelta

import torch
from torch import Tensor, distributed

TIMEOUT = timedelta(days=1)
"""How long the others wait while the first learns a tokenizer, packs the text or evaluates. A process that is
gone is noticed at once, whatever this says."""


class Processes:
    """This process among all of the run's; a run without torchrun has one."""

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.count > 1:
            distributed.init_process_group("nccl" if self.device.type == "cuda" else "gloo", timeout=TIMEOUT)

    @property
    def is_first(self) -> bool:
        """The one that evaluates, reports and writes files."""
        return self.rank == 0

    def rows(self, batch_size: int) -> range:
        """Return this process's rows of the batch. Raises ValueError when they cannot be dealt evenly."""
        if batch_size % self.count:
            raise ValueError(
                f"training.batch_size: expected a multiple of {self.count} processes, got {batch_size}"
            )
        share = batch_size // self.count
        return range(self.rank * share, (self.rank + 1) * share)

    def run_in_first(self, work: Callable[[], None]) -> None:
        """Do `work` in the first process while the others wait; they raise ValueError when it fails there."""
        failed = True
        try:
            if self.is_first:
                work()
            failed = False
        finally:
            (num_failed,) = self.sum([failed])
        if num_failed:
            raise ValueError("the first process has failed and says why")

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.count
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Sequence[float]) -> list[float]:
        if self.count == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return [float(value) for value in total]

    def gather_rows(self, rows: Tensor, dim: int) -> Tensor:
        """Return all processes' rows in the order of the batch."""
        if self.count == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts, dim=dim)

    def close(self) -> None:
        if self.count > 1:
            distributed.destroy_process_group()

"""What one step of training needs at the least, asked for before any of it is taken."""

from __future__ import annotations

import math
import os

import torch

from model.architecture import NUM_GATES, Architecture
from training.config import Config

_BYTES_PER_WEIGHT = 16
"""float32: the weight, its gradient and AdamW's two moments."""

_BYTES_PER_VALUE = 2
"""bfloat16: what a layer keeps of a window for the way back, its gates and its input."""


def check_memory(config: Config, num_rows: int, device: torch.device) -> None:
    """Raise ValueError when a network and its windows surely do not fit.

    num_rows: of the batch, those that this process reads. What fits here may still be too large: all else
    that a step needs is not counted.
    """
    architecture = config.architecture(num_characters=2, vocabulary_size=config.tokenizer.vocabulary_size)
    network = _BYTES_PER_WEIGHT * sum(math.prod(shape) for shape in architecture.tensor_shapes().values())
    window = _window_bytes(architecture, num_rows * config.training.bptt_length)
    if network + window > (available := _memory_bytes(device)):
        raise ValueError(
            f"the network needs at least {_gb(network)} and a window {_gb(window)} of memory, expected less "
            f"than the {_gb(available)} that there are: lower the sizes in [model] or "
            "tokenizer.vocabulary_size for the network, training.batch_size or training.bptt_length for the "
            "window"
        )


def _window_bytes(architecture: Architecture, num_tokens: int) -> int:
    values = num_tokens * (NUM_GATES[architecture.cell] + 1) * architecture.hidden_dim
    return 2 * architecture.num_layers * values * _BYTES_PER_VALUE


def _memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB"

"""Checkpoints: everything a run needs to go on exactly where it was.

A checkpoint is one safetensors file (no pickle) whose metadata hold the numbers that are not tensors. It
appears under its final name only when it is whole and on disk.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from training.atomic import write_atomically


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0  # of training, evaluation and checkpoints included
    best_loss: float | None = None  # held-out, nats a token, mean of both directions and of the languages
    evaluations_since_best: int = 0
    settings: dict[str, Any] = field(default_factory=dict, compare=False)  # [training], at the newest step
    fingerprint: str = ""  # of what `Workspace.fingerprint` says the run belongs to
    texts: dict[str, str] = field(default_factory=dict)  # the hash of each packed text, where it has one


def save_checkpoint(path: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write atomically: to a file beside it, synced, then renamed.

    Raises OSError when the disk is full; the older file under this name is then still whole.
    """
    metadata = {"progress": json.dumps(asdict(progress))}
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
    write_atomically(path, data)


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """Raises ValueError when the file is not a whole checkpoint."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
        return tensors, Progress(**json.loads(metadata["progress"]))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such checkpoint") from None
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a checkpoint: {error}") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> dict[str, Tensor]:
    """Return the optimizer's moments and step counts, each named after its parameter."""
    return {
        f"optimizer.{key}.{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: dict[Tensor, str], tensors: dict[str, Tensor]
) -> None:
    for parameter, name in names.items():
        state = {
            key: tensors[full].to(parameter.device if key != "step" else "cpu")
            for key in ("step", "exp_avg", "exp_avg_sq")
            if (full := f"optimizer.{key}.{name}") in tensors
        }
        if state:
            optimizer.state[parameter] = state

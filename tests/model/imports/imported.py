"""Bundles of random checkpoints, as `polyseme-train import` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.imports.allennlp import read_allennlp
from model.imports.checkpoint import Checkpoint
from model.imports.manylangs import read_manylangs
from tests.model.imports.random_checkpoints import random_allennlp, random_manylangs
from training.importing import write_checkpoint


def write(checkpoint: Checkpoint, out: Path, dtype: str = "float32") -> Bundle:
    return write_checkpoint(checkpoint, out, name=out.name, languages=[], licence="unknown", dtype=dtype)


def imported_allennlp(out: Path, **shape: Any) -> Bundle:
    source = random_allennlp(**shape).write(out.with_name(f"{out.name}.source"))
    return write(read_allennlp(*source), out)


def imported_manylangs(out: Path, **shape: Any) -> Bundle:
    source = random_manylangs(**shape).write(out.with_name(f"{out.name}.source"))
    return write(read_manylangs(source), out)

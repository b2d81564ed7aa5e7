"""Checkpoints in AllenNLP's format as large as the published English ones, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FILTERS = [[1, 32], [2, 32], [3, 64], [4, 128], [5, 256], [6, 512], [7, 1024]]
NUM_ROWS, CHARACTER_DIM, MAX_CHARACTERS, NUM_LAYERS = 261, 16, 50, 2
NUM_FILTERS = sum(count for _, count in FILTERS)
SIZES = {"small": (1024, 128, 1), "medium": (2048, 256, 1), "original": (4096, 512, 2)}
"""Cell, projection, highways, as Peters et al. published them."""


def write_source(folder: Path, cell: int, projection: int, num_highways: int) -> tuple[Path, Path]:
    """Write options.json and weights.hdf5; the values are small enough that no clip acts."""
    random = np.random.default_rng(0)
    options, weights = folder / "options.json", folder / "weights.hdf5"
    shapes: dict[str, tuple[int, ...]] = {"char_embed": (NUM_ROWS, CHARACTER_DIM)}
    for i, (width, count) in enumerate(FILTERS):
        shapes |= {f"CNN/W_cnn_{i}": (1, width, CHARACTER_DIM, count), f"CNN/b_cnn_{i}": (count,)}
    for k in range(num_highways):
        for part in ("carry", "transform"):
            shapes |= {f"CNN_high_{k}/W_{part}": (NUM_FILTERS,) * 2, f"CNN_high_{k}/b_{part}": (NUM_FILTERS,)}
    shapes |= {"CNN_proj/W_proj": (NUM_FILTERS, projection), "CNN_proj/b_proj": (projection,)}
    for direction in range(2):
        for layer in range(NUM_LAYERS):
            name = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            shapes |= {f"{name}/W_0": (2 * projection, 4 * cell), f"{name}/B": (4 * cell,)}
            shapes |= {f"{name}/W_P_0": (cell, projection)}
    with h5py.File(weights, "w") as file:
        for name, shape in shapes.items():
            scale = 1 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.1
            file[name] = random.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    lstm = {"dim": cell, "projection_dim": projection, "n_layers": NUM_LAYERS, "cell_clip": 3, "proj_clip": 3}
    cnn: dict[str, Any] = {"embedding": {"dim": CHARACTER_DIM}, "filters": FILTERS, "n_highway": num_highways}
    cnn |= {"activation": "relu", "max_characters_per_token": MAX_CHARACTERS, "n_characters": 262}
    document = {"lstm": lstm | {"use_skip_connections": True}, "char_cnn": cnn}
    options.write_text(json.dumps(document), encoding="utf-8")
    return options, weights

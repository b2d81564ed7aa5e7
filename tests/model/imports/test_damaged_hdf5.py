"""weights.hdf5 that is damaged, or not all in itself: what h5py makes of it, and what is told."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import pytest

from model.imports.allennlp import read_allennlp
from model.imports.checkpoint import CheckpointError
from tests.model.imports.random_checkpoints import random_allennlp


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    options, weights = random_allennlp().write(tmp_path)
    data = weights.read_bytes()
    weights.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"weights\.hdf5: expected a whole HDF5 file, found another: "):
        read_allennlp(options, weights)


def without_characters(folder: Path) -> tuple[Path, Path]:
    """Write options and weights in which the vectors of characters are missing."""
    source = random_allennlp()
    del source.arrays["char_embed"]
    return source.write(folder)


def test_a_file_that_is_damaged_inside(tmp_path: Path) -> None:
    """h5py's own errors are of many kinds: this one is a KeyError."""
    options, weights = random_allennlp().write(tmp_path)
    data = weights.read_bytes()
    shape, larger = (struct.pack("<4Q", num_rows, 4, 261, 4) for num_rows in (261, 262))
    assert data.count(shape) == 1
    weights.write_bytes(data.replace(shape, larger))
    with pytest.raises(CheckpointError, match=r"weights\.hdf5: expected a whole HDF5 file, found another: "):
        read_allennlp(options, weights)


def test_values_that_were_never_written(tmp_path: Path) -> None:
    """HDF5 reads them as zeros, however many there are."""
    options, weights = without_characters(tmp_path)
    with h5py.File(weights, "a") as file:
        file.create_dataset("char_embed", (261, 4), "f4")
    with pytest.raises(CheckpointError, match=r"char_embed: expected values, found none: only their shape "):
        read_allennlp(options, weights)


def test_values_of_a_type_that_numpy_has_not(tmp_path: Path) -> None:
    options, weights = without_characters(tmp_path)
    with h5py.File(weights, "a") as file:
        space = h5py.h5s.create_simple((3,))
        h5py.h5d.create(file.id, b"char_embed", h5py.h5t.UNIX_D32LE, space)
    with pytest.raises(
        CheckpointError, match=r"hdf5: char_embed: expected a whole HDF5 file, found another: "
    ):
        read_allennlp(options, weights)


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    options, weights = random_allennlp(num_layers=1).write(tmp_path)
    with h5py.File(weights, "a") as file:
        h5py.h5d.create(file.id, b"\xff", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((2,)))
    with pytest.raises(CheckpointError, match=r"hdf5: .: expected no dataset of this name, found one$"):
        read_allennlp(options, weights)


def test_values_in_another_file_are_refused(tmp_path: Path) -> None:
    options, weights = without_characters(tmp_path)
    with h5py.File(weights, "a") as file:
        file.create_dataset("char_embed", (261, 4), "f4", external=[(tmp_path / "x", 0, 261 * 16)])
    with pytest.raises(
        CheckpointError, match=r"char_embed: expected values in this file, found them in another$"
    ):
        read_allennlp(options, weights)
    with h5py.File(weights, "a") as file:
        del file["char_embed"]
        file["char_embed"] = h5py.ExternalLink("other.hdf5", "/char_embed")
    with pytest.raises(CheckpointError, match=r"char_embed: expected a dataset of this name, found none$"):
        read_allennlp(options, weights)

"""The pickles of ELMoForManyLangs: tensors alone are read of them, and how each other thing is told."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model.imports.manylangs import read_manylangs
from tests.model.imports.random_checkpoints import random_manylangs
from tests.model.imports.test_manylangs import assert_refused, read


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (torch.Tensor.bfloat16, r"torch\.bfloat16 \(8,\) \(Got unsupported ScalarType BFloat16\)$"),
        (torch.Tensor.to_sparse, r"torch\.float32 \(8,\) \(can't convert Sparse layout tensor "),
        (lambda tensor: tensor.to("meta"), r"torch\.float32 \(8,\) \(Cannot copy out of meta tensor"),
    ],
)
def test_a_tensor_that_numpy_cannot_hold(
    tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], found: str
) -> None:
    source = random_manylangs()
    source.write(tmp_path)
    tensors = {name: torch.from_numpy(array) for name, array in source.embedder.items()}
    torch.save(
        tensors | {"projection.bias": change(tensors["projection.bias"])}, tmp_path / "token_embedder.pkl"
    )
    message = rf"projection\.bias: expected float32 \(8,\), found {found}"
    assert_refused(tmp_path, "token_embedder.pkl", message)


def test_parameters_are_read_too(tmp_path: Path) -> None:
    """With their gradient wanted, as they are in a module."""
    source = random_manylangs()
    expected = read(source, tmp_path).tensors
    parameters = {name: torch.nn.Parameter(torch.from_numpy(a)) for name, a in source.encoder.items()}
    torch.save(parameters, tmp_path / "encoder.pkl")
    found = read_manylangs(tmp_path).tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_a_pickle_that_is_damaged_inside(tmp_path: Path) -> None:
    """The values are stored beside it, each under a number."""
    path = random_manylangs().write(tmp_path) / "encoder.pkl"
    data = path.read_bytes()
    # Where it stood in memory: low addresses are short.
    number = re.findall(rb"[0-9]{6,}", data)[0]
    path.write_bytes(data.replace(number, b"0" * len(number), 1))
    assert_refused(tmp_path, "encoder.pkl", r"expected a dictionary of tensors .* \(AssertionError: storage ")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_pickle(tmp_path: Path, share: float) -> None:
    path = random_manylangs().write(tmp_path) / "encoder.pkl"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert_refused(tmp_path, "encoder.pkl", "expected a dictionary of tensors and nothing else, ")


class Payload:
    """What a hostile pickle would run."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return Path.touch, (Path("ran"),)  # type: ignore[return-value]


@pytest.mark.parametrize("save", [lambda path: torch.save({"a": Payload()}, path), None])
def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], None] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    path = random_manylangs().write(tmp_path) / "encoder.pkl"
    if save is not None:
        save(path)
    else:
        path.write_bytes(pickle.dumps(Payload()))
    assert_refused(tmp_path, "encoder.pkl", "expected a dictionary of tensors and nothing else, ")
    assert not (tmp_path / "ran").exists()


def test_the_reason_is_told_and_not_how_to_read_it_all_the_same(tmp_path: Path) -> None:
    path = random_manylangs().write(tmp_path) / "encoder.pkl"
    torch.save(torch.nn.Linear(2, 2), path)
    message = (
        r"expected a .* \(UnpicklingError: Unsupported global: GLOBAL torch\.nn\.modules\.linear\.Linear was "
    )
    assert_refused(tmp_path, "encoder.pkl", message + r"not an allowed global by default\)$")


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, {1: torch.zeros(2)}])
def test_a_pickle_that_is_no_state_dict(tmp_path: Path, value: object) -> None:
    path = random_manylangs().write(tmp_path) / "encoder.pkl"
    torch.save(value, path)
    assert_refused(
        tmp_path, "encoder.pkl", f"expected a dictionary of tensors, found {type(value).__name__}$"
    )


def test_tensors_that_were_saved_on_a_gpu(tmp_path: Path) -> None:
    """The tag is part of the pickle, and as long as the other."""
    source = random_manylangs()
    expected = read(source, tmp_path).tensors
    for name in ("encoder.pkl", "token_embedder.pkl"):
        data = (tmp_path / name).read_bytes()
        tagged = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
        assert tagged != data
        (tmp_path / name).write_bytes(tagged)
    found = read_manylangs(tmp_path).tensors
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_the_newer_file_format_of_torch_is_read_too(tmp_path: Path) -> None:
    source = random_manylangs()
    expected = read(source, tmp_path).tensors
    tensors = {name: torch.from_numpy(array) for name, array in source.encoder.items()}
    torch.save(tensors, tmp_path / "encoder.pkl")
    assert expected.keys() == read_manylangs(tmp_path).tensors.keys()

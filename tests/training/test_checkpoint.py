from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.training.runs import assert_same_tensors, file_size_limit, run_python
from training.checkpoint import (
    Progress,
    load_checkpoint,
    load_optimizer_tensors,
    optimizer_tensors,
    save_checkpoint,
)

PROGRESS = Progress(
    step=12,
    tokens=3_000_000_000,
    seconds=1.25,
    best_loss=0.1 + 0.2,
    evaluations_since_best=3,
    fingerprint="abc",
)


def some_tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {
        "weights": torch.randn(5, 7),
        "half": torch.randn(3).to(torch.bfloat16),
        "positions": torch.tensor([[1, 2**40], [-3, 4]]),
        "step": torch.tensor(12.0),
        "edges": torch.tensor([float("inf"), float("-inf"), -0.0, 1e-45]),
        "transposed": torch.arange(6.0).reshape(2, 3).t(),
        "empty": torch.zeros(0, 4),
        "needs gradient": torch.nn.Parameter(torch.randn(2)),
    }


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    tensors = some_tensors()
    save_checkpoint(path, tensors, PROGRESS)
    loaded, progress = load_checkpoint(path)
    assert progress == PROGRESS
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype, name
        assert loaded[name].shape == tensor.shape, name
        expected = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(loaded[name].reshape(-1).view(torch.uint8), expected), name


def test_a_run_without_any_evaluation_has_no_best_loss(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.safetensors", {}, Progress())
    assert load_checkpoint(tmp_path / "last.safetensors") == ({}, Progress(best_loss=None))


def test_a_checkpoint_is_a_safetensors_file_with_json_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, some_tensors(), PROGRESS)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header.keys() == {*some_tensors(), "__metadata__"}
    assert json.loads(header["__metadata__"]["progress"])["tokens"] == 3_000_000_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_checkpoint_replaces_the_older(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, {"x": torch.ones(1000)}, Progress(step=1))
    save_checkpoint(path, {"x": torch.zeros(2)}, Progress(step=2))
    tensors, progress = load_checkpoint(path)
    assert tensors["x"].tolist() == [0, 0]
    assert progress.step == 2


@pytest.mark.parametrize("kept", [0, 7, 8, 100, 0.5, 0.99, -1])
def test_a_truncated_file_is_refused(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, some_tensors(), PROGRESS)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    refuse(path)


@pytest.mark.parametrize("data", [b"garbage" * 100, b"\xff" * 100, bytes(100), b"\x80\x04\x95pickle"])
def test_a_file_of_something_else_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(data)
    refuse(path)


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"progress": "{"}, {"progress": "[]"}, {"progress": '{"steps": 1}'}, {"progress": "1"}],
)
def test_weights_that_are_no_checkpoint_are_refused(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_file({"x": torch.ones(2)}, path, metadata)
    refuse(path)


def refuse(path: Path) -> None:
    with pytest.raises(ValueError, match=r"not a checkpoint") as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.safetensors: no such checkpoint$"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_older_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, {"x": torch.ones(1000)}, Progress(step=1))
    with file_size_limit(20_000), pytest.raises(OSError, match="File too large"):
        save_checkpoint(path, {"x": torch.zeros(100_000)}, Progress(step=2))
    assert list(tmp_path.iterdir()) == [path]
    tensors, progress = load_checkpoint(path)
    assert torch.equal(tensors["x"], torch.ones(1000))
    assert progress == Progress(step=1)


def test_a_kill_in_the_middle_of_saving_leaves_the_older_file_or_the_newer(tmp_path: Path) -> None:
    """Sixteen processes save without a pause, each checkpoint full of its number, until they are killed."""
    code = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from training.checkpoint import Progress, load_checkpoint, save_checkpoint

path = Path(sys.argv[1])
seen = 0
for round in range(16):
    pid = os.fork()
    if not pid:
        while True:
            seen += 1
            save_checkpoint(path, {"x": torch.full((250_000,), float(seen))}, Progress(step=seen))
    while not path.exists():
        time.sleep(0.001)
    time.sleep(random.Random(round).random() / 20)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    tensors, progress = load_checkpoint(path)
    assert progress.step >= seen
    assert torch.equal(tensors["x"], torch.full((250_000,), float(progress.step)))
    seen = progress.step
print("whole every time")
"""
    done = run_python(code, str(tmp_path / "last.safetensors"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole every time\n", "")
    assert {path.name for path in tmp_path.iterdir()} <= {"last.safetensors", "last.safetensors.partial"}


def test_a_partial_file_that_a_kill_has_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    path.with_name("last.safetensors.partial").write_bytes(b"half of something much longer" * 1000)
    save_checkpoint(path, {"x": torch.ones(2)}, PROGRESS)
    assert list(tmp_path.iterdir()) == [path]
    assert load_checkpoint(path)[0]["x"].tolist() == [1, 1]


# The optimizer


def _layer_and_optimizer(seed: int) -> tuple[torch.nn.Linear, torch.optim.AdamW]:
    torch.manual_seed(seed)
    layer = torch.nn.Linear(4, 3)
    return layer, torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.01, fused=True)


def _update(layer: torch.nn.Linear, optimizer: torch.optim.Optimizer, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    layer(torch.randn(5, 4, generator=generator)).square().sum().backward()
    optimizer.step()


def _names(layer: torch.nn.Linear) -> dict[torch.Tensor, str]:
    return {parameter: name for name, parameter in layer.named_parameters()}


def test_an_optimizer_goes_on_where_it_was(tmp_path: Path) -> None:
    layer, optimizer = _layer_and_optimizer(1)
    for seed in range(3):
        _update(layer, optimizer, seed)
    moments = optimizer_tensors(optimizer, _names(layer))
    assert set(moments) == {
        f"optimizer.{key}.{name}" for key in ("step", "exp_avg", "exp_avg_sq") for name in ("weight", "bias")
    }
    assert moments["optimizer.step.weight"].item() == 3
    save_checkpoint(tmp_path / "last.safetensors", {**layer.state_dict(), **moments}, PROGRESS)

    other, fresh = _layer_and_optimizer(2)
    tensors, _ = load_checkpoint(tmp_path / "last.safetensors")
    other.load_state_dict({name: tensors[name] for name in ("weight", "bias")})
    load_optimizer_tensors(fresh, _names(other), tensors)
    for seed in range(3, 6):
        _update(layer, optimizer, seed)
        _update(other, fresh, seed)
    assert_same_tensors(other.state_dict(), layer.state_dict())
    assert_same_tensors(optimizer_tensors(fresh, _names(other)), optimizer_tensors(optimizer, _names(layer)))


def test_an_optimizer_that_has_not_stepped_has_nothing_to_save() -> None:
    layer, optimizer = _layer_and_optimizer(1)
    assert optimizer_tensors(optimizer, _names(layer)) == {}
    load_optimizer_tensors(optimizer, _names(layer), {})
    assert not optimizer.state

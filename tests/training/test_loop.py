from __future__ import annotations

import gc
import math
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.conftest import copy_workspace
from tests.training.runs import (
    LONG,
    TOKENS_PER_STEP,
    assert_same_checkpoint,
    assert_same_tensors,
    losses,
    record,
    resumed,
    tiny_config,
    trainer,
)
from training import loop
from training.checkpoint import load_checkpoint
from training.config import Config
from training.corpus import pack
from training.evaluate import HeldoutLoss
from training.loop import learning_rate
from training.workspace import Workspace

pytestmark = pytest.mark.usefixtures("every_step")

# The schedule


def rates(config: Config, *points: tuple[int, int]) -> list[float]:
    return [learning_rate(config.training, step, tokens) for step, tokens in points]


def test_the_rate_rises_over_the_warm_up_stays_and_falls_to_a_hundredth(tiny: Config) -> None:
    training = replace(
        tiny.training, learning_rate=0.01, warmup_steps=10, decay_fraction=0.25, total_tokens=1000
    )
    config = replace(tiny, training=training)
    assert rates(config, (0, 0), (4, 40), (9, 90), (10, 100), (74, 740)) == pytest.approx(
        [0.001, 0.005, 0.01, 0.01, 0.01], rel=1e-12
    )
    assert rates(config, (75, 750), (80, 800), (87, 875), (99, 999), (100, 1000), (101, 1010)) == (
        pytest.approx(
            [0.01, 0.01 * (0.01 + 0.99 * 0.8), 0.00505, 0.01 * (0.01 + 0.99 * 0.004), 0.0001, 0.0001],
            rel=1e-12,
        )
    )


def test_the_rate_without_warm_up_or_fall_is_constant(tiny: Config) -> None:
    training = replace(
        tiny.training, learning_rate=0.01, warmup_steps=0, decay_fraction=0.0, total_tokens=1000
    )
    assert rates(replace(tiny, training=training), (0, 0), (50, 500), (100, 1000)) == [0.01] * 3


def test_the_rate_may_fall_from_the_beginning(tiny: Config) -> None:
    training = replace(tiny.training, learning_rate=1.0, warmup_steps=2, decay_fraction=1.0, total_tokens=100)
    assert rates(replace(tiny, training=training), (0, 0), (5, 50)) == pytest.approx([0.5, 0.505], rel=1e-12)


# The same seed, the same run


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_the_same_seed_gives_the_same_20_losses_to_the_last_bit(
    precision: str, prepared: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=20, precision=precision, **LONG)
    first, second = (copy_workspace(prepared, tmp_path / name) for name in ("first", "second"))
    for workspace in (first, second):
        assert trainer(config, workspace).run()
    assert list(losses(first)) == list(range(1, 21))
    assert record(first) == record(second)
    assert_same_checkpoint(second.checkpoint_path, first.checkpoint_path)
    assert_same_checkpoint(second.best_path, first.best_path)

    other = copy_workspace(prepared, tmp_path / "other")
    config = replace(config, training=replace(config.training, seed=2))
    assert trainer(config, other).run()
    assert not set(losses(other).values()) & set(losses(first).values())


def test_the_record_says_what_the_run_did(workspace: Workspace, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=20, **LONG)
    assert trainer(config, workspace).run()
    entries = workspace.record()
    steps = [entry for entry in entries if "forward" in entry]
    assert [entry["tokens"] for entry in steps] == [step * TOKENS_PER_STEP for step in range(1, 21)]
    assert steps[0].keys() == {"step", "tokens", "seconds", "forward", "backward", "gradient_norm"}
    # At first every piece is as likely as any other; after 20 steps the loss is well below that.
    assert steps[0]["forward"] == pytest.approx(math.log(1200), abs=0.5)
    assert steps[0]["backward"] == pytest.approx(math.log(1200), abs=0.5)
    assert steps[-1]["forward"] < steps[0]["forward"] - 0.5
    assert steps[-1]["backward"] < steps[0]["backward"] - 0.5
    assert all(entry["gradient_norm"] > 0 for entry in steps)
    evaluations = [entry for entry in entries if "heldout" in entry]
    assert [(entry["step"], entry["tokens"]) for entry in evaluations] == [(10, 1280), (20, 2560)]
    _, progress = load_checkpoint(workspace.checkpoint_path)
    assert (progress.step, progress.tokens) == (20, 2560)
    assert progress.best_loss == min(entry["heldout"] for entry in evaluations)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize(("cell", "num_layers"), [("lstm", 1), ("gru", 2), ("rnn", 1), ("lstm", 3)])
def test_every_cell_and_depth_learns(
    cell: str, num_layers: int, precision: str, workspace: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(
        tmp_path, steps=12, cell=cell, num_layers=num_layers, precision=precision, warmup_steps=2, **LONG
    )
    assert trainer(config, workspace).run()
    by_step = losses(workspace)
    assert all(by_step[12][direction] < by_step[1][direction] - 0.3 for direction in (0, 1))
    assert all(tensor.isfinite().all() for tensor in load_checkpoint(workspace.best_path)[0].values())


def test_a_full_softmax_learns_too(workspace: Workspace, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=12, adaptive_cutoffs=[], warmup_steps=2, **LONG)
    assert trainer(config, workspace).run()
    assert losses(workspace)[12][0] < losses(workspace)[1][0] - 0.3


# Evaluation and stopping


def script_heldout(patch: pytest.MonkeyPatch, values: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let evaluations find these losses, each the mean of two languages; return the weights that each saw."""
    seen: list[dict[str, torch.Tensor]] = []
    halves = iter(value + sign * 0.25 for value in values for sign in (-1, 1))

    def heldout_loss(model: torch.nn.Module, *_: object) -> HeldoutLoss:
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        assert not model.training
        value = next(halves)
        return HeldoutLoss(10 * (value + 1), 10 * (value - 1), 10)

    patch.setattr(loop, "heldout_loss", heldout_loss)
    return seen


def test_a_run_stops_when_its_patience_is_at_an_end_and_keeps_the_best_weights(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = script_heldout(monkeypatch, [5.0, 4.0, 4.5, 3.5, 3.5, 3.75, 3.625, 1.0])
    config = tiny_config(tmp_path, steps=100, evaluate_every_steps=2, patience=3, checkpoint_every_s=1e9)
    assert trainer(config, workspace).run()
    assert [entry["heldout"] for entry in workspace.record() if "heldout" in entry] == [
        5.0,
        4.0,
        4.5,
        3.5,
        3.5,
        3.75,
        3.625,
    ]
    last, progress = load_checkpoint(workspace.checkpoint_path)
    assert (progress.step, progress.best_loss, progress.evaluations_since_best) == (14, 3.5, 3)
    best, best_progress = load_checkpoint(workspace.best_path)
    assert best_progress.step == 8
    assert_same_tensors(best, seen[2 * 3])  # of the fourth evaluation, the first of two with 3.5
    assert not torch.equal(best["char_cnn.projection.weight"], last["char_cnn.projection.weight"])

    # It has stopped for good, unless it is given more patience.
    assert resumed(config, workspace).run()
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 14


def test_without_patience_a_run_goes_to_its_end(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_heldout(monkeypatch, [3.0, 4.0, 5.0, 6.0, 7.0])
    assert trainer(tiny_config(tmp_path, steps=9, evaluate_every_steps=2, patience=0), workspace).run()
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 9
    assert load_checkpoint(workspace.best_path)[1].step == 2
    steps = [entry["step"] for entry in workspace.record() if "heldout" in entry]
    assert steps == [2, 4, 6, 8, 9]  # the end is evaluated too


def test_a_heldout_text_of_one_word_is_enough(workspace: Workspace, tmp_path: Path) -> None:
    text = tmp_path / "heldout.txt"
    text.write_text("배\n", encoding="utf-8")
    pack([text], workspace.tokenizer, workspace.heldout_path("tiny"))
    config = tiny_config(tmp_path, steps=2, **LONG)
    config = replace(config, data=replace(config.data, heldout={"tiny": (str(text),)}))
    assert trainer(config, workspace).run()
    (evaluation,) = [entry for entry in workspace.record() if "heldout" in entry]
    assert evaluation["heldout"] == pytest.approx(math.log(1200), abs=0.7)


def test_a_loss_that_is_no_number_ends_the_run_before_it_spoils_the_weights(
    workspace: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=20, checkpoint_every_s=0)
    run = trainer(config, workspace)
    with torch.no_grad():
        run.model.softmax.get_parameter("head.bias")[3] = math.nan
    with pytest.raises(
        ValueError, match=r"^the loss is not finite at step 0: lower training\.learning_rate$"
    ):
        run.run()
    assert not workspace.checkpoint_path.exists()
    assert run.model.softmax.get_parameter("head.bias").isnan().sum() == 1


def test_a_gradient_that_is_no_number_ends_the_run_before_it_spoils_the_weights(
    workspace: Workspace, tmp_path: Path
) -> None:
    run = trainer(tiny_config(tmp_path, steps=20, checkpoint_every_s=0), workspace)
    parameter = run.model.char_cnn.projection.weight
    scale = {2: math.inf}
    parameter.register_hook(lambda gradient: gradient * scale.get(run.progress.step, 1))  # type: ignore[no-untyped-call]
    with pytest.raises(ValueError, match="the loss is not finite at step 2"):
        run.run()
    tensors, progress = load_checkpoint(workspace.checkpoint_path)
    assert progress.step == 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert_same_tensors(
        {"weight": tensors["char_cnn.projection.weight"]},
        {"weight": run.model.char_cnn.projection.weight.data},
    )


# The process around it


def test_a_run_starts_from_given_weights(workspace: Workspace, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=20)
    other = replace(config, training=replace(config.training, seed=2))
    given = trainer(other, workspace).model.state_dict()
    assert_same_tensors(trainer(config, workspace, initial=given).model.state_dict(), given)
    own = trainer(config, workspace).model.state_dict()
    assert not torch.equal(own["char_cnn.projection.weight"], given["char_cnn.projection.weight"])


def test_a_run_leaves_no_thread_and_no_setting_behind(workspace: Workspace, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    before = set(threading.enumerate())
    run = trainer(tiny_config(tmp_path, steps=2), workspace)
    assert run.run()
    assert torch.get_num_threads() == 2
    own = [t for t in set(threading.enumerate()) - before if t.name.startswith("ThreadPoolExecutor")]
    assert len(own) == 2
    del run
    gc.collect()
    for thread in own:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_text_shorter_than_one_batch_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=20, batch_size=1000)
    with pytest.raises(ValueError, match=r"^the corpus has 13076 tokens, fewer than one batch: .* = 17000$"):
        trainer(config, workspace)

"""Runs that start from a bundle: its weights, its vocabulary, and what the new bundle says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from model.bundle import Bundle, BundleError
from tests.training.runs import TOKENS_PER_STEP, tiny_config, trainer
from training import pipeline
from training.checkpoint import load_checkpoint
from training.config import Config
from training.export import export, load_weights
from training.lineage import base_of
from training.workspace import Workspace


def short(tiny: Config, steps: int, **bundle: Any) -> Config:
    training = replace(tiny.training, total_tokens=steps * TOKENS_PER_STEP, evaluate_every_steps=1)
    return replace(tiny, training=training, bundle=replace(tiny.bundle, **bundle))


def fine_tuned(config: Config, base: Bundle, folder: Path) -> Bundle:
    workspace = Workspace(folder)
    assert pipeline.train(config, workspace, resume=False, init_from=base.folder)
    export(config, workspace, folder / "bundle")
    return Bundle.open(folder / "bundle")


def test_it_starts_from_the_weights_and_the_vocabulary(
    tiny: Config, untrained: Bundle, tmp_path: Path
) -> None:
    """One step at a learning rate of nearly zero: the weights are still the bundle's."""
    config = short(tiny, 1)
    config = replace(config, training=replace(config.training, learning_rate=1e-9))
    workspace = Workspace(tmp_path / "work")
    assert pipeline.train(config, workspace, resume=False, init_from=untrained.folder)
    assert workspace.tokenizer_path.read_bytes() == (untrained.folder / "tokenizer.model").read_bytes()
    tensors, _ = load_checkpoint(workspace.checkpoint_path)
    for name, tensor in load_weights(untrained).items():
        torch.testing.assert_close(tensors[name], tensor, rtol=0, atol=1e-7)


def test_the_new_bundle_names_the_one_it_started_from(
    tiny: Config, untrained: Bundle, tmp_path: Path
) -> None:
    corpora = ("Letters (CC BY 4.0)", tiny.bundle.corpora[0])
    bundle = fine_tuned(
        short(tiny, 2, name="second", corpora=corpora, licence="MIT"), untrained, tmp_path / "a"
    )
    record = bundle.manifest.training
    own = TOKENS_PER_STEP * record["steps"]
    assert (record["tokens_seen"], record["corpora"]) == (own, list(corpora))
    assert record["base"] == base_of(untrained.manifest)
    assert record["base"]["training"]["tokens_seen"] == 384
    card = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"- started from: tiny, licence CC0-1.0, manifest sha256\n  {untrained.manifest.sha256}\n" in card
    assert (
        f"- tokens seen: {384 + own:,}: 384 before the start, and in this run {own:,}, of a text of" in card
    )
    assert f"that of the bundles it started from included, with its licences:\n\n- {corpora[0]}\n" in card
    assert card.count(corpora[1]) == 1

    third = fine_tuned(short(tiny, 1, name="third", corpora=()), bundle, tmp_path / "b").folder
    assert Bundle.open(third).manifest.training["base"] == base_of(bundle.manifest)
    card = (third / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"- started from: second, licence MIT, manifest sha256\n  {bundle.manifest.sha256}\n" in card
    assert f"- before that: tiny, licence CC0-1.0, manifest sha256\n  {untrained.manifest.sha256}\n" in card
    assert f"- tokens seen: {384 + own + 128:,}: {384 + own:,} before the start, and in this run 128," in card
    assert all(f"- {corpus}\n" in card for corpus in corpora)


def test_it_reads_the_text_in_another_order_than_its_base(
    tiny: Config, untrained: Bundle, tmp_path: Path
) -> None:
    """Runs that start from each other, none of which comes to the end of the text, would else read its first
    part again and again."""
    folders = [tmp_path / "new", tmp_path / "on"]
    for folder, init_from in zip(folders, [None, untrained.folder], strict=True):
        pipeline.train(short(tiny, 1), Workspace(folder), resume=False, init_from=init_from)
    new, on = (trainer(short(tiny, 1), Workspace(folder)).streams[0].window(0) for folder in folders)
    assert not (new.inputs_TB == on.inputs_TB).all(axis=0).any()
    again = trainer(short(tiny, 1), Workspace(folders[1])).streams[0].window(0)
    assert (again.inputs_TB == on.inputs_TB).all()


def test_a_run_from_random_weights_names_no_base(tiny: Config, tmp_path: Path) -> None:
    config, workspace = short(tiny, 1), Workspace(tmp_path / "work")
    assert pipeline.train(config, workspace, resume=False, init_from=None)
    export(config, workspace, tmp_path / "bundle")
    record = Bundle.open(tmp_path / "bundle").manifest.training
    card = (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "base" not in record
    assert "started from" not in card
    assert f"- tokens seen: 128, of a text of {record['corpus_tokens']:,}.\n" in card


def test_a_resumed_run_still_knows_its_base(tiny: Config, untrained: Bundle, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    assert pipeline.train(short(tiny, 1), workspace, resume=False, init_from=untrained.folder)
    assert pipeline.train(short(tiny, 3), workspace, resume=True, init_from=None)
    assert load_checkpoint(workspace.checkpoint_path)[1].step == 3
    export(short(tiny, 3), workspace, tmp_path / "bundle")
    record = Bundle.open(tmp_path / "bundle").manifest.training
    assert record["base"] == base_of(untrained.manifest)


def test_a_start_that_came_to_no_checkpoint_is_made_again_not_resumed(
    tiny: Config, untrained: Bundle, workspace: Workspace
) -> None:
    """As after a kill in the first minutes: to resume would be to start from random weights."""
    workspace.write_base(base_of(untrained.manifest))
    with pytest.raises(ValueError, match="no checkpoint yet of the run that started from tiny; start again"):
        pipeline.train(short(tiny, 1), workspace, resume=True, init_from=None)
    assert not workspace.checkpoint_path.exists()
    assert workspace.base == base_of(untrained.manifest)

    assert pipeline.train(short(tiny, 1), workspace, resume=False, init_from=None)
    assert workspace.base is None  # these weights were random


@pytest.mark.parametrize(
    "content", [b"{", b"[" * 10**6, b"[]", b'{"name": "tiny"}', b'{"name": 1, "sha256": "", "licence": ""}']
)
def test_a_base_that_cannot_be_read_stops_the_export(
    content: bytes, tiny: Config, untrained: Bundle, tmp_path: Path
) -> None:
    workspace = Workspace(untrained.folder.parent)
    copy = Workspace(tmp_path / "work")
    copy.folder.mkdir()
    for path in workspace.folder.iterdir():
        if path.name != "bundle":
            (copy.folder / path.name).symlink_to(path)
    copy.base_path.write_bytes(content)
    with pytest.raises(ValueError, match=r"base\.json: expected "):
        export(tiny, copy, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_bundle_of_another_network_is_refused_by_the_fields_that_differ(
    untrained: Bundle, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=1, num_highways=0, hidden_dim=64)
    with pytest.raises(ValueError, match="was trained with another") as caught:
        pipeline.train(config, Workspace(tmp_path / "work"), resume=False, init_from=untrained.folder)
    assert str(caught.value) == (
        f"{untrained.folder}: was trained with another [model]: "
        "hidden_dim = 32, expected 64; num_highways = 1, expected 0"
    )
    assert not (tmp_path / "work").exists()


def test_a_bundle_that_is_none_is_refused(tiny: Config, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: expected a file, found none"):
        pipeline.train(tiny, Workspace(tmp_path / "work"), resume=False, init_from=tmp_path)
    assert not (tmp_path / "work").exists()

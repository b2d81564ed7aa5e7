from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.training.conftest import copy_workspace
from tests.training.runs import tiny_config
from training.baselines.recurrent import TEXT, VARIANTS, ForwardHalf, Variant, train_variant
from training.probes.source import SentenceLayers
from training.workspace import Workspace


@pytest.mark.parametrize("variant", [VARIANTS[1], VARIANTS[2]], ids=lambda variant: variant.slug)
def test_a_variant_is_trained_and_exported_once(
    variant: Variant, prepared: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=4)
    work = tmp_path / "work"
    copy_workspace(prepared, work / TEXT)
    bundle = train_variant(variant, config, work)
    assert bundle is not None
    architecture = bundle.manifest.architecture
    assert (architecture.cell, architecture.num_layers) == (variant.cell, variant.num_layers)
    assert architecture.hidden_dim == config.model.hidden_dim
    assert bundle.manifest.name == variant.slug
    assert bundle.manifest.training["tokens_seen"] == 512
    again = train_variant(variant, config, work)
    assert again is not None
    assert again.manifest.sha256 == bundle.manifest.sha256


def test_all_variants_read_one_text(prepared: Workspace, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=1)
    copy_workspace(prepared, tmp_path / "work" / TEXT)
    for variant in VARIANTS[:1]:
        train_variant(variant, config, tmp_path / "work")
    workspace = Workspace(tmp_path / "work" / VARIANTS[0].slug)
    assert workspace.train_path.resolve() == tmp_path / "work" / TEXT / "packed" / "train"
    assert workspace.tokenizer_path.read_bytes() == prepared.tokenizer_path.read_bytes()


def test_the_line_differs_in_cell_and_layers_alone(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, steps=1)
    assert [(v.cell, v.num_layers) for v in VARIANTS] == [
        ("rnn", 1),
        ("rnn", 2),
        ("gru", 1),
        ("lstm", 1),
        ("lstm", 2),
    ]
    for variant in VARIANTS:
        own = variant.config(config)
        assert own.training == config.training
        assert own.tokenizer == config.tokenizer
        assert own.model.hidden_dim == config.model.hidden_dim


class Numbered:
    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for _ in sentences:
            layers_LTD = np.arange(8, dtype=np.float32).reshape(2, 1, 4)
            yield SentenceLayers(np.array([0]), np.array([1]), layers_LTD)


def test_the_forward_half_is_the_first_half() -> None:
    half = ForwardHalf(Numbered())
    (found,) = half.sentence_layers(["a"])
    assert half.num_vector_layers == 2
    assert found.layers_LTD.tolist() == [[[0, 1]], [[4, 5]]]
    assert (found.starts.tolist(), found.ends.tolist()) == ([0], [1])

"""What the 8-bit encoder of a trained bundle is built for, and what it changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle, write_bundle
from model.files import CONTEXT_ENCODER_FILE, INT8_CONTEXT_ENCODER_FILE, TOKENIZER_FILE
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer
from tests.training.conftest import copy_workspace
from training import pipeline
from training.config import Config
from training.corpus import CharacterTable
from training.export import export, load_model
from training.int8 import Lines, int8_changes, token_ranges
from training.workspace import Workspace


@pytest.fixture(scope="module")
def bundle(tiny: Config, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    workspace = copy_workspace(prepared, tmp_path_factory.mktemp("trained") / "work")
    config = replace(tiny, training=replace(tiny.training, total_tokens=2_000, evaluate_every_steps=5))
    assert pipeline.train(config, workspace, resume=False, init_from=None)
    export(config, workspace, workspace.folder / "bundle")
    return Bundle.open(workspace.folder / "bundle")


@pytest.fixture(scope="module")
def characters(bundle: Bundle, prepared: Workspace) -> CharacterTable:
    return CharacterTable(prepared.alphabet, SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE), [])


def sample(bundle: Bundle) -> Lines:
    tokenizer = SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE)
    texts = ["The river ran past the bank.", "강에서 배를 탔다.", "a"]
    return [np.array(tokenizer.tokenize(text).ids, dtype=np.uint32) for text in texts]


def test_ranges_hold_every_token_of_the_vocabulary(bundle: Bundle, characters: CharacterTable) -> None:
    ranges_D = token_ranges(load_model(bundle), characters)
    size = bundle.manifest.architecture.vocabulary_size
    vectors_VD = Runtime(bundle, 1).token_vectors(characters.rows(np.arange(size)))
    np.testing.assert_allclose(ranges_D, np.abs(vectors_VD).max(axis=0), rtol=1e-4)


def test_the_manifest_tells_the_changes(bundle: Bundle) -> None:
    for language in ("en", "ko"):
        assert 1e-4 < bundle.manifest.rounding[f"int8_relative_error_{language}"] < 0.05
        assert abs(bundle.manifest.rounding[f"int8_nats_per_token_{language}"]) < 0.02


def test_the_encoder_of_float32_under_the_other_name_changes_nothing(
    bundle: Bundle, characters: CharacterTable, tmp_path: Path
) -> None:
    files: dict[str, bytes | Path] = {name: bundle.folder / name for name in bundle.manifest.files}
    files[INT8_CONTEXT_ENCODER_FILE] = bundle.folder / CONTEXT_ENCODER_FILE
    same = write_bundle(tmp_path / "same", replace(bundle.manifest, files={}), files)
    lines = sample(bundle)
    assert int8_changes(same, {"en": (characters, lines)}) == {
        "int8_relative_error_en": 0,
        "int8_nats_per_token_en": 0,
    }
    changes = int8_changes(bundle, {"en": (characters, lines)})
    assert changes["int8_relative_error_en"] > 1e-4
    assert changes["int8_nats_per_token_en"] != 0

"""A run goes on with the text that it began with, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.conftest import copy_workspace
from tests.training.runs import REPOSITORY, resumed, tiny_config, trainer, write_documents
from training.checkpoint import load_checkpoint, save_checkpoint
from training.corpus import pack, read_documents
from training.workspace import Workspace


@pytest.fixture(scope="module")
def two_steps(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """To be read only."""
    folder = tmp_path_factory.mktemp("two_steps")
    workspace = copy_workspace(prepared, folder / "work")
    assert trainer(tiny_config(folder, steps=2), workspace).run()
    return workspace


@pytest.fixture
def begun(two_steps: Workspace, tmp_path: Path) -> Workspace:
    """A run whose text may be changed."""
    return copy_workspace(two_steps, tmp_path / "work")


def test_a_training_text_of_another_length_is_not_resumed(begun: Workspace, tmp_path: Path) -> None:
    text = write_documents(tmp_path / "text.txt", ["The bank of the river."] * 100)
    pack([text], begun.tokenizer, begun.train_path)
    with pytest.raises(
        ValueError, match=r"last\.safetensors: belongs to another configuration or text; only"
    ):
        resumed(tiny_config(tmp_path, steps=4), begun)


def test_a_training_text_as_long_but_another_is_not_resumed(begun: Workspace, tmp_path: Path) -> None:
    documents = [
        lines
        for language in ("en", "ko")
        for lines in read_documents(REPOSITORY / "tests" / "data" / f"corpus.{language}.txt")
    ]
    text = write_documents(tmp_path / "text.txt", *documents[::-1])
    assert len(pack([text], begun.tokenizer, begun.train_path)) == 13076
    with pytest.raises(ValueError, match=r"last\.safetensors: belongs to another training text$"):
        resumed(tiny_config(tmp_path, steps=4), begun)


def test_another_heldout_text_is_not_resumed(begun: Workspace, tmp_path: Path) -> None:
    """Its perplexity cannot be compared with the best one of the run."""
    text = write_documents(tmp_path / "text.txt", ["The bank of the river."] * 20)
    pack([text], begun.tokenizer, begun.heldout_path("ko"))
    with pytest.raises(ValueError, match=r"last\.safetensors: belongs to another held-out text \(ko\)$"):
        resumed(tiny_config(tmp_path, steps=4), begun)


def test_a_run_of_before_texts_had_hashes_is_resumed_and_has_them_then(
    begun: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=4)
    texts = begun.texts(config)
    assert list(texts) == ["training text", "held-out text (en)", "held-out text (ko)"]
    tensors, progress = load_checkpoint(begun.checkpoint_path)
    assert progress.texts == texts
    progress.texts = {}
    save_checkpoint(begun.checkpoint_path, tensors, progress)
    assert resumed(config, begun).run()
    assert load_checkpoint(begun.checkpoint_path)[1].texts == texts


def test_text_that_was_packed_before_there_were_hashes_is_not_compared(
    begun: Workspace, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, steps=4)
    for path in (begun.train_path, begun.heldout_path("en"), begun.heldout_path("ko")):
        document = json.loads((path / "corpus.json").read_text(encoding="utf-8"))
        del document["sha256"]
        (path / "corpus.json").write_text(json.dumps(document), encoding="utf-8")
    assert begun.texts(config) == {}
    assert resumed(config, begun).run()

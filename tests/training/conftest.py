"""A prepared workspace: vocabulary, alphabet and packed text of training/configs/tiny.toml."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model.bilm import BiLM
from model.bundle import Bundle
from tests.training.runs import TINY, TOKENS_PER_STEP, write_config
from training import loop, pipeline
from training.checkpoint import Progress, save_checkpoint
from training.config import Config
from training.export import export
from training.workspace import Workspace


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As many on every machine, for sums may differ in the last bit; and far faster on a busy one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def same_threads(one_thread: None) -> Iterator[None]:
    """Whatever a test sets, the next one does not see it."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Config:
    return pipeline.read_config(TINY, {}, {})


@pytest.fixture(scope="session")
def prepared(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """To be read only."""
    workspace = Workspace(tmp_path_factory.mktemp("prepared") / "work")
    pipeline.prepare(tiny, workspace, init_from=None)
    return workspace


@pytest.fixture(scope="session")
def untrained(tiny: Config, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of weights as they are before training. To be read only."""
    workspace = copy_workspace(prepared, tmp_path_factory.mktemp("untrained") / "work")
    torch.manual_seed(0)
    model = BiLM(workspace.architecture(tiny))
    save_checkpoint(workspace.best_path, model.state_dict(), Progress(step=3, tokens=384))
    export(tiny, workspace, workspace.folder / "bundle")
    return Bundle.open(workspace.folder / "bundle")


@pytest.fixture
def workspace(prepared: Workspace, tmp_path: Path) -> Workspace:
    """A copy in which nothing is trained yet."""
    return copy_workspace(prepared, tmp_path / "work")


@pytest.fixture
def config(tmp_path: Path) -> str:
    """The path of a configuration for four steps."""
    return str(write_config(tmp_path, total_tokens=4 * TOKENS_PER_STEP))


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record the losses of every step."""
    monkeypatch.setattr(loop, "RECORD_EVERY_STEPS", 1)


def copy_workspace(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.folder, folder)
    return Workspace(folder)

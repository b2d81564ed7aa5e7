"""New graphs for old weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.bundle import BundleError, write_bundle
from model.files import LM_HEADS_FILE
from model.runtime import Runtime
from tests.model.imports.imported import imported_allennlp
from tests.model.small_bundles import contents
from tests.service.tiny_bundle import write_tiny_bundle
from training.regraph import main, regraph


def test_it_writes_the_same_bundle_again(tmp_path: Path) -> None:
    bundle = write_tiny_bundle(tmp_path / "tiny")
    before = {path.name: path.read_bytes() for path in bundle.folder.iterdir()}
    assert regraph(bundle.folder).manifest == bundle.manifest
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == before


def test_old_graphs_are_replaced_and_all_else_stays(tmp_path: Path) -> None:
    new = write_tiny_bundle(tmp_path / "tiny")
    files: dict[str, bytes | Path] = {name: new.folder / name for name in new.manifest.files}
    old = write_bundle(
        tmp_path / "old", replace(new.manifest, files={}), {**files, LM_HEADS_FILE: b"an older graph"}
    )
    with pytest.raises(BundleError):
        Runtime(old, num_threads=1)
    written = regraph(old.folder)
    assert written.manifest.files == new.manifest.files
    hidden_NH = np.zeros((1, 16), dtype=np.float32)
    assert Runtime(written, num_threads=1).log_probabilities(hidden_NH).shape == (1, 1000)


def test_there_must_be_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        regraph(tmp_path)


def test_an_imported_model_is_refused_in_a_line_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = imported_allennlp(tmp_path / "elmo").folder
    before = contents(folder)
    assert main([str(folder)]) == 2
    message = f"regraph: {folder}: expected a model that was trained here, found one that was imported: "
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1
    assert contents(folder) == before

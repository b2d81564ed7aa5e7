"""From a trained run to a bundle: what is written, what is compared, what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.numpy import load_file

from model.architecture import Architecture, Cell
from model.bilm import BiLM
from model.bundle import Bundle
from model.characters import Alphabet
from model.graph import build_graphs
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer
from model.weights import StoredTensor
from tests.training.conftest import copy_workspace
from training import export as export_module
from training import pipeline
from training.checkpoint import Progress, load_checkpoint, save_checkpoint
from training.config import Config
from training.export import check_runtimes, export, largest_allowed, load_model, round_weights
from training.workspace import Workspace


@pytest.fixture(scope="module")
def trained(tiny: Config, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """To be read only: a few steps of training, and the bundle of them in `bundle`."""
    workspace = copy_workspace(prepared, tmp_path_factory.mktemp("trained") / "work")
    training = replace(tiny.training, total_tokens=2_000, evaluate_every_steps=5)
    config = replace(tiny, training=training)
    assert pipeline.train(config, workspace, resume=False, init_from=None)
    export(config, workspace, workspace.folder / "bundle")
    return workspace


@pytest.fixture(scope="module")
def bundle(trained: Workspace) -> Bundle:
    return Bundle.open(trained.folder / "bundle")


def test_bundle_holds_the_best_weights_rounded_to_float16(trained: Workspace, bundle: Bundle) -> None:
    best, progress = load_checkpoint(trained.best_path)
    stored = load_file(bundle.folder / "weights.safetensors")
    assert stored.keys() == best.keys()
    for name, tensor in best.items():
        assert stored[name].dtype == np.float16
        np.testing.assert_array_equal(stored[name], tensor.numpy().astype(np.float16))
    assert bundle.manifest.training["steps"] == progress.step
    assert bundle.manifest.training["tokens_seen"] == progress.tokens == progress.step * 8 * 16


def test_manifest_and_card_tell_the_run(tiny: Config, bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert (manifest.name, manifest.languages, manifest.licence) == ("tiny", ["en", "ko"], "CC0-1.0")
    assert manifest.training["settings"]["seed"] == tiny.training.seed
    assert manifest.rounding.keys() == {
        f"{what}_{language}"
        for what in ("nats_per_token", "int8_relative_error", "int8_nats_per_token")
        for language in ("en", "ko")
    }
    perplexity = manifest.training["heldout_perplexity"]["ko"]["backward"]["word"]
    card = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"| {perplexity:.3f} |" in card
    assert f"tokens seen: {manifest.training['tokens_seen']:,}" in card
    assert all(line in card for line in (*tiny.bundle.corpora, *tiny.bundle.limits))


def test_manifest_perplexity_is_what_evaluate_measures(tiny: Config, bundle: Bundle) -> None:
    heldout = {language: [Path(p) for p in paths] for language, paths in tiny.data.heldout.items()}
    measured = pipeline.evaluate(bundle.folder, heldout)
    for language, by_direction in bundle.manifest.training["heldout_perplexity"].items():
        for direction, by_unit in by_direction.items():
            assert measured[language][direction] == pytest.approx(by_unit, rel=1e-5)


def test_torch_and_onnx_give_the_same_vectors(bundle: Bundle) -> None:
    tokenizer = SentencePieceTokenizer(bundle.folder / "tokenizer.model")
    alphabet = Alphabet.load(bundle.folder / "characters.json")
    model, runtime = load_model(bundle), Runtime(bundle, num_threads=1)
    surfaces = tokenizer.tokenize("강에서 배를 탔다. The bank of the river 龘!").surfaces
    char_ids_NC = alphabet.encode(surfaces)
    vectors_ND = runtime.token_vectors(char_ids_NC)
    lengths_B = np.array([len(surfaces)], dtype=np.int32)
    layers_LTB2H = runtime.layers(vectors_ND[:, None], lengths_B)
    with torch.inference_mode():
        expected_ND = model.char_cnn(torch.from_numpy(char_ids_NC))
        expected_LTB2H = model(expected_ND[:, None], torch.tensor([len(surfaces)]))
    np.testing.assert_allclose(vectors_ND, expected_ND.numpy(), atol=1e-5)
    np.testing.assert_allclose(layers_LTB2H, expected_LTB2H.numpy(), atol=1e-5)


def test_export_is_refused_when_the_runtimes_differ(
    tiny: Config, trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that computes something else: the forward stack with the backward stack's weights."""

    def swapped(
        architecture: Architecture, tensors: dict[str, StoredTensor], ranges_D: npt.NDArray[np.float32] | None
    ) -> dict[str, bytes]:
        moved = {
            name: tensors[name.replace("forward_layers.0.weight_hh", "backward_layers.0.weight_hh")]
            for name in tensors
        }
        return build_graphs(architecture, moved, ranges_D)

    monkeypatch.setattr(export_module, "build_graphs", swapped)
    with pytest.raises(
        ValueError, match=r"^layers from torch and from ONNX Runtime differ by .*, expected at most 1e-05$"
    ):
        export(tiny, trained, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_the_runtimes_may_differ_where_float32_itself_is_no_more_exact() -> None:
    assert largest_allowed(0) == largest_allowed(2.5e-6) == 1e-5
    assert largest_allowed(9e-6) == pytest.approx(3.6e-5)
    assert largest_allowed(1) == largest_allowed(float("inf")) == 1e-4


def test_check_passes_on_what_was_written(trained: Workspace, bundle: Bundle) -> None:
    check_runtimes(bundle, [])


def test_export_keeps_the_older_bundle_when_it_is_refused(
    tiny: Config, trained: Workspace, tmp_path: Path
) -> None:
    export(tiny, trained, tmp_path / "bundle")
    before = Bundle.open(tmp_path / "bundle").manifest.sha256
    broken = copy_workspace(trained, tmp_path / "work")
    tensors, progress = load_checkpoint(broken.best_path)
    tensors["softmax.head.bias"][0] = 1e6  # more than float16 holds
    save_checkpoint(broken.best_path, tensors, progress)
    with pytest.raises(
        ValueError, match=r"tensor softmax\.head\.bias: holds a value that is not finite in float16"
    ):
        export(tiny, broken, tmp_path / "bundle")
    assert Bundle.open(tmp_path / "bundle").manifest.sha256 == before


def test_export_before_training_says_what_is_missing(
    tiny: Config, workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"best\.safetensors: no such checkpoint"):
        export(tiny, workspace, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_full_disk_during_export_leaves_nothing(tiny: Config, trained: Workspace, tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from training.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    config = Path("training/configs/tiny.toml").resolve()
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "export",
            str(config),
            "--work",
            str(trained.folder),
            str(tmp_path / "out"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "File too large" in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_other_cells_and_depths_are_exported_too(
    tiny: Config, prepared: Workspace, tmp_path: Path, cell: Cell
) -> None:
    """Untrained weights will do: the export itself compares the runtimes."""
    workspace = copy_workspace(prepared, tmp_path / "work")
    model_config = replace(tiny.model, cell=cell, num_layers=3, adaptive_cutoffs=())
    config = replace(tiny, model=model_config)
    torch.manual_seed(0)
    model = BiLM(workspace.architecture(config))
    save_checkpoint(workspace.best_path, model.state_dict(), Progress())
    export(config, workspace, tmp_path / "bundle")
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert manifest.layer_names == ["token_embedding", f"{cell}_1", f"{cell}_2", f"{cell}_3"]


def test_rounding_refuses_what_is_not_finite() -> None:
    assert round_weights({"b": torch.tensor([1.0]), "a": torch.tensor([2.0])}, "float16").keys() == {"a", "b"}
    with pytest.raises(ValueError, match="tensor a: holds a value that is not finite in float32"):
        round_weights({"a": torch.tensor([float("nan")])}, "float32")


def test_manifest_is_readable_json(bundle: Bundle) -> None:
    document = json.loads((bundle.folder / "manifest.json").read_text(encoding="utf-8"))
    assert document["training"]["parameters"] == 55_018


def test_heldout_lines_without_a_token_do_not_stop_the_export(
    tiny: Config, prepared: Workspace, tmp_path: Path
) -> None:
    """A zero-width space alone, and a text whose word is thousands of nats long."""
    heldout = tmp_path / "heldout.txt"
    heldout.write_text("\u200b\n" + "강에서배를타고건너편으로갔다" * 80 + "\n", encoding="utf-8")
    config = replace(tiny, data=replace(tiny.data, heldout={"ko": (str(heldout),)}))
    workspace = copy_workspace(prepared, tmp_path / "work")
    (workspace.folder / "sources.json").unlink()
    shutil.rmtree(workspace.heldout_path("ko"))
    pipeline.prepare(config, workspace, init_from=None)
    torch.manual_seed(0)
    save_checkpoint(workspace.best_path, BiLM(workspace.architecture(config)).state_dict(), Progress())
    export(config, workspace, tmp_path / "bundle")
    perplexity = Bundle.open(tmp_path / "bundle").manifest.training["heldout_perplexity"]["ko"]["forward"]
    assert perplexity["word"] is None
    assert perplexity["token"] > 1
    assert "| – |" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_token_vectors_far_from_zero_are_compared_by_their_size(
    tiny: Config, prepared: Workspace, tmp_path: Path
) -> None:
    """Trained token vectors reach 30, where neighbouring float32 numbers are 2e-6 apart."""
    workspace = copy_workspace(prepared, tmp_path / "work")
    torch.manual_seed(0)
    weights = BiLM(workspace.architecture(tiny)).state_dict()
    weights["char_cnn.projection.weight"] *= 30
    save_checkpoint(workspace.best_path, weights, Progress())
    export(tiny, workspace, tmp_path / "bundle")
    runtime = Runtime(Bundle.open(tmp_path / "bundle"), num_threads=1)
    assert np.abs(runtime.token_vectors(workspace.alphabet.encode(["▁bank", "배"]))).max() > 4

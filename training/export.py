"""A trained run becomes a bundle: weights rounded, graphs built, both runtimes compared, everything recorded.

Shape letters: N tokens, C characters, T positions (boundaries included), B sentences, D token-vector dim, H
hidden, L layers.
"""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from safetensors.torch import load_file

from model.architecture import Architecture
from model.bilm import BiLM
from model.bundle import Bundle, Manifest, write_bundle
from model.files import CHARACTERS_FILE, MODEL_CARD_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from model.graph import build_graphs
from model.runtime import Runtime
from model.weights import read_header
from training.checkpoint import Progress, load_checkpoint
from training.config import Config
from training.corpus import CharacterTable, PackedCorpus
from training.evaluate import heldout_loss
from training.int8 import int8_changes, token_ranges
from training.model_card import model_card
from training.workspace import Workspace

TOLERANCE = 1e-5
"""How far ONNX Runtime may be from torch in any vector or log-probability, both loaded from the bundle:
absolute up to 1, relative above, because trained token vectors reach 30, where neighbouring float32 numbers
are 2e-6 apart. Torch computes in float64 here, for in float32 it is as far from the truth as ONNX Runtime is
(training/LOG.md, 2026-11-21)."""

TIMES_FLOAT32, MOST = 4, 1e-4
"""Where torch in float32 is off by more than a fourth of TOLERANCE, so may ONNX Runtime be, this many times
as far: they add in another order. But never by more than the last number; a wrong graph is off by 1."""

COMPARED_LINES, COMPARED_TOKENS, COMPARED_PREDICTIONS = 32, 100, 256
"""Of each sample: sentences, tokens of a sentence, and places whose log-probabilities are compared."""

COMPARED_SLICE = 7
"""Tokens of a slice, when each sample's longest sentence is compared in slices."""

SAMPLE_TOKENS = 2000
"""Of each held-out text, for the comparison of the runtimes and for what rounding changes."""


Heldout = dict[str, tuple[PackedCorpus, CharacterTable]]


def load_weights(bundle: Bundle) -> dict[str, torch.Tensor]:
    """Return a bundle's weights as float32."""
    return {name: tensor.float() for name, tensor in load_file(bundle.folder / WEIGHTS_FILE).items()}


def load_model(bundle: Bundle) -> BiLM:
    """Return the torch network of a bundle, in evaluation mode."""
    model = BiLM(bundle.manifest.architecture)
    model.load_state_dict(load_weights(bundle))
    return model.eval()


def export(config: Config, workspace: Workspace, out: Path) -> None:
    """Write the bundle of the run's best weights.

    Raises ValueError when there is nothing trained, when the weights cannot be rounded, or when the two
    runtimes differ; nothing is then left under `out`, or the older bundle is still there.
    """
    trained, progress = load_checkpoint(workspace.best_path)
    architecture = workspace.architecture(config)
    if {name: tuple(tensor.shape) for name, tensor in trained.items()} != architecture.tensor_shapes():
        raise ValueError(
            f"{workspace.best_path}: holds the weights of another [model] than the configuration's"
        )
    full = BiLM(architecture)
    full.load_state_dict(trained)
    rounded = round_weights(trained, config.bundle.weights_dtype)
    model = BiLM(architecture).eval()
    model.load_state_dict({name: torch.from_numpy(array).float() for name, array in rounded.items()})

    heldout = _heldout(config, workspace)
    record = _training_record(config, workspace, architecture, progress)
    losses = {
        language: heldout_loss(model, table, packed.lines()) for language, (packed, table) in heldout.items()
    }
    record["heldout_perplexity"] = {
        language: losses[language].perplexities(packed.counts) for language, (packed, _) in heldout.items()
    }
    weights = save(rounded)
    ranges_D = None
    if architecture.cell == "lstm":
        ranges_D = token_ranges(model, CharacterTable(workspace.alphabet, workspace.tokenizer, []))
    manifest = Manifest(
        name=config.bundle.name,
        languages=list(config.bundle.languages),
        architecture=architecture,
        tokenizer="sentencepiece",
        weights_dtype=config.bundle.weights_dtype,
        training=record,
        rounding=_rounding(full.eval(), model, heldout),
        licence=config.bundle.licence,
    )
    files: dict[str, bytes | Path] = {
        WEIGHTS_FILE: weights,
        **build_graphs(architecture, read_header(weights), ranges_D),
        TOKENIZER_FILE: workspace.tokenizer_path,
        CHARACTERS_FILE: workspace.alphabet_path,
        MODEL_CARD_FILE: b"",
    }
    if ranges_D is not None:
        manifest.rounding.update(_int8_changes(out.parent, manifest, files, heldout))
    files[MODEL_CARD_FILE] = model_card(config.bundle, architecture, record, manifest.rounding).encode()
    write_bundle(out, manifest, files, check=lambda bundle: check_runtimes(bundle, list(heldout.values())))


def _int8_changes(
    parent: Path, manifest: Manifest, files: Mapping[str, bytes | Path], heldout: Heldout
) -> dict[str, float]:
    """Measure on a draft of the bundle, which is then thrown away: the bundle itself tells the result."""
    samples = {
        language: (table, packed.lines(SAMPLE_TOKENS)) for language, (packed, table) in heldout.items()
    }
    with tempfile.TemporaryDirectory(dir=parent, prefix=".") as folder:
        return int8_changes(write_bundle(Path(folder) / "draft", manifest, files), samples)


def _heldout(config: Config, workspace: Workspace) -> Heldout:
    return {
        language: (packed, CharacterTable(workspace.alphabet, workspace.tokenizer, packed.unknown_surfaces))
        for language, packed in workspace.heldout(config).items()
    }


def round_weights(weights: Mapping[str, torch.Tensor], dtype: str) -> dict[str, npt.NDArray[Any]]:
    """Return the weights by name, sorted, in `dtype`. Raises ValueError when one is not finite then."""
    rounded: dict[str, npt.NDArray[Any]] = {}
    for name in sorted(weights):
        with np.errstate(over="ignore"):
            rounded[name] = weights[name].numpy().astype(dtype)
        if not np.isfinite(rounded[name]).all():
            raise ValueError(f"tensor {name}: holds a value that is not finite in {dtype}")
    return rounded


def check_runtimes(bundle: Bundle, heldout: Sequence[tuple[PackedCorpus, CharacterTable]]) -> None:
    """Compare torch and ONNX Runtime, both loaded from the bundle, on random and on held-out sentences.

    Raises ValueError when any token vector, layer or log-probability differs by more than `largest_allowed`.
    """
    model = load_model(bundle)
    runtime = Runtime(bundle, num_threads=1)
    rng = np.random.default_rng(0)
    random_rows_NC = rng.integers(1, model.architecture.num_characters, (64, 12), dtype=np.int32)
    random_ids_N = rng.integers(0, model.architecture.vocabulary_size, 64, dtype=np.int32)
    samples = [(random_rows_NC, random_ids_N, [np.arange(length) for length in (1, 2, 17, 44)])]
    for packed, table in heldout:
        lines = [line[:COMPARED_TOKENS] for line in packed.lines(SAMPLE_TOKENS) if len(line)][:COMPARED_LINES]
        if lines:
            distinct, inverse = np.unique(np.concatenate(lines), return_inverse=True)
            ends = np.cumsum([len(line) for line in lines])
            samples.append((table.rows(distinct), table.piece_ids[distinct], np.split(inverse, ends[:-1])))
    for rows_NC, piece_ids_N, sentences in samples:
        differences = _differences(model, runtime, rows_NC, piece_ids_N, sentences)
        for name, (difference, of_float32) in differences.items():
            if not difference <= (limit := largest_allowed(of_float32)):
                raise ValueError(
                    f"{name} from torch and from ONNX Runtime differ by {difference:.2g}, "
                    f"expected at most {limit:.2g}"
                )


def largest_allowed(of_float32: float) -> float:
    """of_float32: by how much torch in float32 differs from torch in float64."""
    return min(max(TOLERANCE, TIMES_FLOAT32 * of_float32), MOST)


@torch.inference_mode()
def _differences(
    model: BiLM,
    runtime: Runtime,
    rows_NC: npt.NDArray[np.int32],
    piece_ids_N: npt.NDArray[np.int32],
    sentences: Sequence[npt.NDArray[np.int64]],
) -> dict[str, tuple[float, float]]:
    """Return the largest differences from torch in float64: of ONNX Runtime, and of torch in float32.

    sentences: indices of rows_NC and piece_ids_N, read without boundaries.
    """
    exact = copy.deepcopy(model).double()
    vectors_ND = runtime.token_vectors(rows_NC, piece_ids_N if model.architecture.word_dim else None)
    inputs = torch.from_numpy(rows_NC), torch.from_numpy(piece_ids_N)
    lengths_B = np.array([len(sentence) for sentence in sentences], dtype=np.int32)
    x_TBD = np.zeros((lengths_B.max(), len(sentences), vectors_ND.shape[1]), dtype=np.float32)
    for b, sentence in enumerate(sentences):
        x_TBD[: len(sentence), b] = vectors_ND[sentence]
    layers_LTB2H = runtime.layers(x_TBD, lengths_B)
    x, lengths = torch.from_numpy(x_TBD), torch.from_numpy(lengths_B).long()
    layers, exact_layers = model(x, lengths), exact(x.double(), lengths)
    longest = int(lengths_B.argmax())
    # Both halves of the top layer, a few hundred of its places: each gives V log-probabilities.
    hidden_NH = layers_LTB2H[-1].reshape(-1, vectors_ND.shape[1])[:COMPARED_PREDICTIONS]
    hidden = torch.from_numpy(hidden_NH)
    compared = {
        "token vectors": (vectors_ND, model.token_vectors(*inputs), exact.token_vectors(*inputs)),
        "layers": (layers_LTB2H, layers, exact_layers),
        "layers in slices": (
            _layers_in_slices(runtime, x_TBD[:, longest]),
            layers[:, :, longest],
            exact_layers[:, :, longest],
        ),
        "log-probabilities": (
            runtime.log_probabilities(hidden_NH),
            model.softmax.log_probabilities(hidden),
            exact.softmax.log_probabilities(hidden.double()),
        ),
    }
    return {
        name: (_largest(found, reference), _largest(of_float32.numpy(), reference))
        for name, (found, of_float32, reference) in compared.items()
    }


def _layers_in_slices(runtime: Runtime, x_TD: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return a sentence's layers (L, T, 2H), read as the service reads a document."""
    num_positions, hidden_dim = x_TD.shape
    state = runtime.first_state(1)
    layers_LT2H = np.empty((state.shape[1] + 1, num_positions, 2 * hidden_dim), dtype=np.float32)
    for start in range(0, num_positions, COMPARED_SLICE):
        forward = slice(start, min(start + COMPARED_SLICE, num_positions))
        backward = slice(num_positions - forward.stop, num_positions - start)
        lengths_B = np.array([forward.stop - start], dtype=np.int32)
        found, state = runtime.layer_slices(x_TD[forward, None], x_TD[backward, None], lengths_B, state)
        layers_LT2H[:, forward, :hidden_dim] = found[:, :, 0, :hidden_dim]
        layers_LT2H[:, backward, hidden_dim:] = found[:, :, 0, hidden_dim:]
    return layers_LT2H


def _largest(found: npt.NDArray[np.float32], expected: torch.Tensor) -> float:
    reference = expected.numpy()
    return float((np.abs(found - reference) / np.maximum(1, np.abs(reference))).max())


def _rounding(full: BiLM, rounded: BiLM, heldout: Heldout) -> dict[str, float]:
    """Return what rounding the weights changed on held-out text."""
    change: dict[str, float] = {}
    for language, (packed, table) in heldout.items():
        lines = packed.lines(SAMPLE_TOKENS)
        before, after = (heldout_loss(model, table, lines).mean for model in (full, rounded))
        change[f"nats_per_token_{language}"] = after - before
    return change


def _training_record(
    config: Config, workspace: Workspace, architecture: Architecture, progress: Progress
) -> dict[str, Any]:
    """Return what the manifest keeps of the run, and of the one that made the bundle it started from."""
    base = workspace.base
    return {
        "tokens_seen": progress.tokens,
        "steps": progress.step,
        "seconds": round(progress.seconds),
        "corpora": list(config.bundle.corpora),
        "corpus_tokens": len(PackedCorpus(workspace.train_path)),
        "parameters": sum(math.prod(shape) for shape in architecture.tensor_shapes().values()),
        # The run's own; a checkpoint of weights from elsewhere has none.
        "settings": progress.settings or asdict(config.training),
        **({"base": base} if base is not None else {}),
    }

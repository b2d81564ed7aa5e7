"""A published checkpoint becomes a bundle: weights rounded if asked, graphs built, what it is recorded.

Shape letters: T tokens of a sentence (boundaries included), L layers, D token-vector dim, H hidden.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save

from model.bundle import Bundle, Manifest, write_bundle
from model.files import CHARACTERS_FILE, MODEL_CARD_FILE, WEIGHTS_FILE, WORDS_FILE
from model.graph import build_graphs
from model.imports.checkpoint import Checkpoint
from model.reader import open_reader, save_words
from model.runtime import Runtime
from model.weights import read_header
from training.export import round_weights
from training.imported_card import imported_card

SENTENCES = (
    "The bank of the river was muddy, but she sat down.",
    "The bank raised its rates by 1.25 % in 2008.",
    "강에서 배를 탔다. 배가 고파서 배를 깎아 먹었다.",
    "Il a mangé une pomme près de la rivière.",
    "Die Bank steht unter einem alten Baum am Ufer.",
    "Она сидела на берегу реки и читала книгу.",
    "他 坐 在 河边 的 长椅 上 。",
    "कल बाज़ार में बहुत भीड़ थी।",
)
"""What the change by rounding is measured on when no text is given."""


def write_checkpoint(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    languages: Sequence[str],
    licence: str,
    dtype: str,
    sentences: Sequence[str] = SENTENCES,
) -> Bundle:
    """Write the bundle of a checkpoint, and return it.

    Raises ValueError when a weight does not fit `dtype`, when no sentence has a word, or when the network
    gives a value that is not finite; an older bundle under `out` stands as it was then.
    """
    weights = {key: torch.from_numpy(tensor) for key, tensor in checkpoint.tensors.items()}
    draft = Manifest(
        name=name,
        languages=list(languages),
        architecture=checkpoint.architecture,
        tokenizer="words",
        weights_dtype="float32",
        training=checkpoint.record,
        rounding={},
        licence=licence,
    )
    manifest = replace(draft, weights_dtype=dtype)
    files = _files(checkpoint, save(round_weights(weights, dtype)))
    if dtype != "float32":
        exact = _files(checkpoint, save(round_weights(weights, "float32")))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".") as folder:
            before = write_bundle(Path(folder) / "exact", draft, exact)
            after = write_bundle(Path(folder) / "rounded", manifest, files)
            manifest.rounding.update(changes(before, after, sentences))
    files[MODEL_CARD_FILE] = imported_card(manifest).encode()
    return write_bundle(out, manifest, files, check=lambda bundle: _check_finite(bundle, sentences))


def read_sentences(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty. Raises ValueError when there is none."""
    try:
        sentences = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, found byte {error.start} to be none") from error
    if not sentences:
        raise ValueError(f"{path}: expected a sentence a line, found none")
    return sentences


def report(bundle: Bundle) -> str:
    """Return what the command says of a bundle that it has written."""
    manifest = bundle.manifest
    size_mb = sum((bundle.folder / name).stat().st_size for name in manifest.files) / 1e6
    lines = [
        f"{manifest.name}, {manifest.architecture.num_vector_layers} layers of "
        f"{manifest.architecture.dimension}, {size_mb:.1f} MB in {manifest.weights_dtype}"
    ]
    lines += [f"{name.replace('_', ' ')}: {value:.2g}" for name, value in manifest.rounding.items()]
    return "\n".join(lines)


def _files(checkpoint: Checkpoint, weights: bytes) -> dict[str, bytes | Path]:
    characters = json.dumps(checkpoint.rows.to_document(), ensure_ascii=False, indent=0) + "\n"
    files: dict[str, bytes | Path] = {
        WEIGHTS_FILE: weights,
        **build_graphs(checkpoint.architecture, read_header(weights)),
        CHARACTERS_FILE: characters.encode("utf-8"),
        MODEL_CARD_FILE: b"",
    }
    if checkpoint.words is not None:
        files[WORDS_FILE] = save_words(checkpoint.words)
    return files


def changes(exact: Bundle, rounded: Bundle, sentences: Sequence[str]) -> dict[str, float]:
    """Return how far rounding moves the vectors of sentences: for each layer the error as a share of the
    vectors' length, and the largest change of any value."""
    before, after = layers(exact, sentences), layers(rounded, sentences)
    error_L, length_L = np.zeros(len(before[0])), np.zeros(len(before[0]))
    largest = 0.0
    for before_LT2H, after_LT2H in zip(before, after, strict=True):
        difference_LT2H = after_LT2H.astype(np.float64) - before_LT2H
        error_L += np.square(difference_LT2H).sum(axis=(1, 2))
        length_L += np.square(before_LT2H, dtype=np.float64).sum(axis=(1, 2))
        largest = max(largest, float(np.abs(difference_LT2H).max()))
    shares_L = np.sqrt(error_L / np.maximum(length_L, np.finfo(np.float64).tiny))  # a layer may be all 0
    names = [f"relative_error_{name}" for name in exact.manifest.layer_names]
    return {**dict(zip(names, shares_L.tolist(), strict=True)), "largest_change": largest}


def layers(bundle: Bundle, sentences: Sequence[str]) -> list[npt.NDArray[np.float32]]:
    """Return the layers (L, T, 2H) of every sentence, boundaries included, through the bundle's graphs.

    Raises ValueError when no sentence has a word.
    """
    reader, runtime = open_reader(bundle), Runtime(bundle, num_threads=1)
    tokenized = [tokens for tokens in map(reader.tokenizer.tokenize, sentences) if len(tokens)]
    if not tokenized:
        raise ValueError("sentences: expected at least one with a word, found none")
    words = reader.words
    word_ids = None if words is None else words.boundary_ids()
    begin_1D, end_1D = np.split(runtime.token_vectors(reader.alphabet.boundary_rows(), word_ids), 2)
    found = []
    for tokens in tokenized:
        word_ids = None if words is None else words.encode(tokens.surfaces)
        vectors_TD = runtime.token_vectors(reader.alphabet.encode(tokens.surfaces), word_ids)
        x_TD = np.concatenate([begin_1D, vectors_TD, end_1D])
        found.append(runtime.layers(x_TD[:, None], np.array([len(x_TD)], dtype=np.int32))[:, :, 0])
    return found


def _check_finite(bundle: Bundle, sentences: Sequence[str]) -> None:
    if not all(np.isfinite(each).all() for each in layers(bundle, sentences)):
        raise ValueError("expected vectors of finite numbers, found others: the weights are no trained model")

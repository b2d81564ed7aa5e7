"""A real bundle with random weights: written in a fraction of a second, yet every file of it counts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import safetensors.numpy
import sentencepiece

from model.architecture import Architecture
from model.bundle import Bundle, Manifest, write_bundle
from model.characters import Alphabet
from model.files import WEIGHTS_FILE
from model.graph import build_graphs
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from model.weights import read_header

DATA = Path(__file__).resolve().parent.parent / "data"
VOCABULARY_SIZE = 1000


# Of the bundle's token vectors; what is beyond counts as this, in both directions alike.
LARGEST = 4.0


def write_tiny_bundle(folder: Path, seed: int = 0, *, with_int8: bool = False) -> Bundle:
    """Write a bundle with the vocabulary of the tests' text and weights that mean nothing.

    with_int8: with the graph that `--precision int8` needs.
    """
    alphabet = Alphabet("jamo")
    architecture = Architecture(
        cell="lstm",
        num_layers=2,
        hidden_dim=16,
        character_dim=8,
        num_characters=alphabet.num_characters,
        filters=((1, 8), (2, 8), (3, 8)),
        num_highways=1,
        vocabulary_size=VOCABULARY_SIZE,
        adaptive_cutoffs=(),
        adaptive_div_value=4.0,
    )
    weights = _random_weights(architecture, seed)
    ranges_D = np.full(architecture.hidden_dim, LARGEST, dtype=np.float32) if with_int8 else None
    alphabet_path = folder.with_name(f"{folder.name}.characters.json")
    alphabet.save(alphabet_path)
    manifest = Manifest(
        name=folder.name,
        languages=["en", "ko"],
        architecture=architecture,
        tokenizer="sentencepiece",
        weights_dtype="float16",
        training={},
        rounding={},
        licence="CC0-1.0",
    )
    return write_bundle(
        folder,
        manifest,
        {
            "tokenizer.model": _vocabulary(),
            "characters.json": alphabet_path,
            WEIGHTS_FILE: weights,
            "MODEL_CARD.md": b"Random weights, for tests.\n",
            **build_graphs(architecture, read_header(weights), ranges_D),
        },
    )


def _random_weights(architecture: Architecture, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    tensors = {
        name: random.uniform(-0.5, 0.5, shape).astype(np.float16)
        for name, shape in architecture.tensor_shapes().items()
    }
    tensors["char_cnn.character_embedding.weight"][0] = 0  # padding
    return safetensors.numpy.save(tensors)


def _vocabulary() -> bytes:
    lines = [
        line
        for language in ("en", "ko")
        for line in (DATA / f"corpus.{language}.txt").read_text(encoding="utf-8").splitlines()
        if line
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=VOCABULARY_SIZE,
        unk_id=UNKNOWN_ID,
        bos_id=BOUNDARY_ID,
        eos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()

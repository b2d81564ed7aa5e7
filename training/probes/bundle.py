"""Probe a bundle: what `polyseme-train probe` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE, Precision
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer
from training.probes.encoded import EncodedSource
from training.probes.report import SetResult
from training.probes.runner import probe


def probe_bundle(
    folder: Path,
    data: Path,
    out: Path,
    set_names: Sequence[str] | None = None,
    precision: Precision = "float32",
    *,
    num_threads: int = 2,
    show_progress: bool = True,
) -> dict[str, SetResult]:
    """`probe` for a bundle, its results keyed by the precision and its manifest's hash.

    Raises BundleError for a broken bundle, ValueError as `probe`.
    """
    bundle = Bundle.open(folder)
    return probe(
        open_bundle(bundle, num_threads, precision),
        f"{precision}-{bundle.manifest.sha256}",
        data,
        out,
        set_names,
        title=f"{bundle.manifest.name}, {precision}",
        num_threads=num_threads,
        show_progress=show_progress,
    )


def open_bundle(bundle: Bundle, num_threads: int, precision: Precision) -> EncodedSource:
    """The layers of the files that are served, through ONNX Runtime."""
    return EncodedSource(
        SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE),
        Alphabet.load(bundle.folder / CHARACTERS_FILE),
        Runtime(bundle, 1, precision),
        bundle.manifest.architecture.num_vector_layers,
        num_workers=num_threads,
    )

"""Probe a bundle: what `polyseme-train probe` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE, Precision
from model.piece_ids import piece_ids_of
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer
from training.probes.encoded import EncodedScorer
from training.probes.plots import draw
from training.probes.report import SetResult
from training.probes.rows import ANCHORS, quoted_rows_of, read_rows, write_rows
from training.probes.runner import probe
from training.probes.sets import PROBE_SETS, with_wordnet
from training.probes.table import write_report


def probe_bundle(
    folder: Path,
    data: Path,
    out: Path,
    set_names: Sequence[str] | None = None,
    precision: Precision = "float32",
    *,
    rows: Sequence[Path] = (),
    wordnet: Path | None = None,
    num_threads: int = 2,
    show_progress: bool = True,
) -> dict[str, SetResult]:
    """`probe` for a bundle, its results keyed by the precision and its manifest's hash; then the report.

    rows: files of rows.py to show beside it; wordnet: the folder of WordNet 3.0. Writes report.md,
    report.json, plots/ and rows.json, which another report can show, in `out`. Raises BundleError for a
    broken bundle, ValueError as `probe` and `read_rows`.
    """
    bundle = Bundle.open(folder)
    beside = [row for path in (ANCHORS, *rows) for row in read_rows(path)]
    source = open_bundle(bundle, num_threads, precision)
    results = probe(
        source,
        f"{precision}-{bundle.manifest.sha256}",
        data,
        out,
        set_names,
        scorer=source,
        num_threads=num_threads,
        show_progress=show_progress,
        known_sets=PROBE_SETS if wordnet is None else with_wordnet(wordnet),
    )
    plots = draw(results, out / "plots")
    title = f"{bundle.manifest.name}, {precision}, {bundle.manifest.sha256[:12]}"
    write_report(out, title, results, beside, plots)
    vectors = f"{bundle.manifest.name}, {precision}"
    source_name = f"measured: polyseme-train probe --precision {precision}"
    write_rows(out / "rows.json", quoted_rows_of(results, vectors, source_name))
    return results


def open_bundle(bundle: Bundle, num_threads: int, precision: Precision) -> EncodedScorer:
    """The layers and scores of the files that are served, through ONNX Runtime.

    Raises ValueError for an imported model, which has no scores.
    """
    if not bundle.manifest.architecture.has_softmax:
        raise ValueError(
            f"{bundle.folder}: expected a model with a softmax, found one that was imported without"
        )
    tokenizer = SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE)
    return EncodedScorer(
        tokenizer,
        Alphabet.load(bundle.folder / CHARACTERS_FILE),
        Runtime(bundle, 1, precision),
        bundle.manifest.architecture.num_vector_layers,
        num_workers=num_threads,
        pieces=piece_ids_of(bundle.manifest.architecture, tokenizer),
    )

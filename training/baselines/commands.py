"""What each kind of `polyseme-train baseline` does. Each returns whether it came to its end."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from model.bundle import Bundle
from training import pipeline
from training.atomic import write_atomically
from training.corpus import check_texts
from training.probes.report import SetResult
from training.probes.rows import BaselineRow, quoted_rows_of, rows_of, write_rows
from training.probes.runner import probe
from training.probes.sets import PROBE_SETS
from training.probes.source import LayerSource, SentenceScorer

UNTRAINED_SEED = 1


def fasttext(options: argparse.Namespace) -> bool:
    from training.baselines.static import (
        FastTextConfig,
        StaticSource,
        WindowSource,
        load_fasttext,
        train_fasttext,
    )

    config = FastTextConfig()
    if options.epochs is not None:
        config = replace(config, num_epochs=options.epochs)
    path = options.work / "fasttext.bin"
    files = check_texts(options.texts)
    settings = {**asdict(config), "max_words": options.max_words, "files": [file.name for file in files]}
    record = options.work / "fasttext.json"
    if path.exists():
        if json.loads(record.read_text(encoding="utf-8")) != settings:
            raise ValueError(f"{path}: was trained with other settings or text; name another folder")
    else:
        options.work.mkdir(parents=True, exist_ok=True)
        write_atomically(record, (json.dumps(settings, indent=1) + "\n").encode())
        train_fasttext(files, path, config, max_words=options.max_words)
    with path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()
    vectors = load_fasttext(path)
    static = _probe(StaticSource(vectors), f"static-{key}", options)
    window = _probe(WindowSource(vectors), f"window-{key}", options)
    rows = rows_of(static, "fastText", _source(options))
    rows += rows_of(window, "fastText + window", _source(options))
    # One layer, which needs no name; the most frequent sense is in every report already.
    rows = [replace(row, layer="") for row in rows if row.layer == "layer 0"]
    return _write(rows, "fasttext", options)


def counts(options: argparse.Namespace) -> bool:
    from training.baselines.counts import probe_counts

    return _write(probe_counts(options.data, options.sets, _source(options)), "counts", options)


def untrained(options: argparse.Namespace) -> bool:
    from training.baselines.untrained import untrained_source

    bundle = Bundle.open(options.bundle)
    document = json.dumps([bundle.manifest.architecture.to_dict(), UNTRAINED_SEED])
    key = hashlib.sha256(document.encode()).hexdigest()
    source = untrained_source(bundle, UNTRAINED_SEED)
    results = _probe(source, f"untrained-{key}", options)
    return _write(quoted_rows_of(results, "untrained network", _source(options)), "untrained", options)


def recurrent(options: argparse.Namespace) -> bool:
    from training.baselines.recurrent import VARIANTS, ForwardHalf, train_variant
    from training.probes.bundle import open_bundle

    if (options.data is None) != (options.out is None):
        raise ValueError("expected --data and --out together, or neither")
    chosen = [variant for variant in VARIANTS if options.only is None or variant.slug in options.only]
    if options.only is not None and len(chosen) < len(set(options.only)):
        known = ", ".join(variant.slug for variant in VARIANTS)
        raise ValueError(f"--only: expected among {known}; came {', '.join(options.only)}")
    config = pipeline.read_config(options.config, options.train, options.heldout)
    work = options.work or Path("runs") / config.bundle.name
    rows = []
    for variant in chosen:
        bundle = train_variant(variant, config, work)
        if bundle is None:
            return False
        if options.data is None:
            continue
        source = open_bundle(bundle, 2, "float32")
        key = bundle.manifest.sha256
        both = _probe(source, f"both-{key}", options, scorer=source)
        forward = _probe(ForwardHalf(source), f"forward-{key}", options)
        rows += quoted_rows_of(both, variant.name, _source(options))
        rows += quoted_rows_of(forward, f"{variant.name}, forward only", _source(options))
    return _write(rows, "recurrent", options) if rows else True


def _probe(
    source: LayerSource,
    key: str,
    options: argparse.Namespace,
    scorer: SentenceScorer | None = None,
) -> dict[str, SetResult]:
    set_names = options.sets
    if set_names is not None and scorer is None:
        asking = {probe_set.name for probe_set in PROBE_SETS if probe_set.asks_how_likely}
        set_names = [name for name in set_names if name not in asking]
    return probe(source, key, options.data, options.out, set_names, scorer=scorer)


def _source(options: argparse.Namespace) -> str:
    return f"measured: polyseme-train baseline {options.kind}"


def _write(rows: Sequence[BaselineRow], name: str, options: argparse.Namespace) -> bool:
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}.json"
    write_rows(path, rows)
    print(f"wrote {len(rows)} rows to {path}")
    return True

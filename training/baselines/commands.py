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
from training.probes.rows import BaselineRow, rows_of, write_rows
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
    rows = _probe(StaticSource(vectors), f"static-{key}", "fastText", options)
    rows += _probe(WindowSource(vectors), f"window-{key}", "fastText + window", options)
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
    return _write(_probe(source, f"untrained-{key}", "untrained network", options), "untrained", options)


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
        rows += _probe(source, f"both-{key}", variant.name, options, scorer=source)
        rows += _probe(ForwardHalf(source), f"forward-{key}", f"{variant.name}, forward only", options)
    return _write(rows, "recurrent", options) if rows else True


def _probe(
    source: LayerSource,
    key: str,
    vectors: str,
    options: argparse.Namespace,
    scorer: SentenceScorer | None = None,
) -> list[BaselineRow]:
    set_names = options.sets
    if set_names is not None and scorer is None:
        asking = {probe_set.name for probe_set in PROBE_SETS if probe_set.asks_how_likely}
        set_names = [name for name in set_names if name not in asking]
    results = probe(source, key, options.data, options.out, set_names, scorer=scorer)
    return rows_of(results, vectors, _source(options))


def _source(options: argparse.Namespace) -> str:
    return f"measured: polyseme-train baseline {options.kind}"


def _write(rows: Sequence[BaselineRow], name: str, options: argparse.Namespace) -> bool:
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}.json"
    write_rows(path, rows)
    print(f"wrote {len(rows)} rows to {path}")
    return True

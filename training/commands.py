"""What each command of `polyseme-train` does. Each returns whether it came to its end, not interrupted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training import pipeline
from training.config import Config
from training.workspace import Workspace


def _read_config(options: argparse.Namespace) -> Config:
    return pipeline.read_config(options.config, options.train, options.heldout)


def _workspace(options: argparse.Namespace, config: Config) -> Workspace:
    return Workspace(options.work or Path("runs") / config.bundle.name)


def tokenizer(options: argparse.Namespace) -> bool:
    config = _read_config(options)
    pipeline.prepare(config, _workspace(options, config), init_from=None)
    return True


def train(options: argparse.Namespace) -> bool:
    config = _read_config(options)
    workspace = _workspace(options, config)
    return pipeline.train(config, workspace, resume=options.resume, init_from=options.init_from)


def export(options: argparse.Namespace) -> bool:
    config = _read_config(options)
    pipeline.check_output(options.out)
    pipeline.export(config, _workspace(options, config), options.out)
    return True


def run(options: argparse.Namespace) -> bool:
    config = _read_config(options)
    workspace = _workspace(options, config)
    bundle = options.bundle or workspace.folder / "bundle"
    if options.bundle is not None or bundle.exists():
        pipeline.check_output(bundle)
    if not pipeline.train(config, workspace, resume=options.resume, init_from=options.init_from):
        return False
    if pipeline.is_first_process():
        pipeline.export(config, workspace, bundle)
    return True


def evaluate(options: argparse.Namespace) -> bool:
    from training.evaluate import perplexity_table

    perplexities = pipeline.evaluate(options.bundle, options.heldout)
    if options.json:
        print(json.dumps(perplexities))
    else:
        print(perplexity_table(perplexities))
    return True


def probe(options: argparse.Namespace) -> bool:
    from training.probes.bundle import probe_bundle

    probe_bundle(options.bundle, options.data, options.out, options.sets, options.precision)
    print((options.out / "probe.md").read_text(encoding="utf-8"))
    return True

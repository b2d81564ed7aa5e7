"""What each command of `polyseme-train` does. Each returns whether it came to its end, not interrupted."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from training import pipeline
from training.config import Config, check_name
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


def baseline(options: argparse.Namespace) -> bool:
    from training.baselines import commands

    done: bool = getattr(commands, options.kind)(options)
    return done


def curves(options: argparse.Namespace) -> bool:
    from training.curves import draw_curves, read_curve

    draw_curves([read_curve(folder) for folder in options.runs], options.out)
    return True


def perplexity(options: argparse.Namespace) -> bool:
    from training.perplexity.report import markdown_table, measure
    from training.perplexity.texts import read_texts

    texts = read_texts(options.files, options.sources, wikitext_file=options.wikitext, ptb_file=options.ptb)
    precisions = options.precision or ["float32"]
    found = [row for precision in precisions for row in measure(options.bundle, texts, precision)]
    if options.json:
        print(json.dumps([row.to_dict() for row in found], ensure_ascii=False))
    else:
        print(markdown_table(found), end="")
    return True


def probe(options: argparse.Namespace) -> bool:
    from training.probes.bundle import probe_bundle

    probe_bundle(
        options.bundle,
        options.data,
        options.out,
        options.sets,
        options.precision,
        rows=options.rows,
        wordnet=options.wordnet,
    )
    print((options.out / "report.md").read_text(encoding="utf-8"))
    return True


def import_checkpoint(options: argparse.Namespace) -> bool:
    from model.imports.allennlp import read_allennlp
    from model.imports.manylangs import read_manylangs
    from training.importing import SENTENCES, read_sentences, report, write_checkpoint

    pipeline.check_output(options.out)
    name = options.name if options.name is not None else options.out.resolve().name
    check_name(name, "--name")
    sentences = SENTENCES if options.sentences is None else read_sentences(options.sentences)
    if options.format == "allennlp":
        checkpoint = read_allennlp(options.options, options.weights)
    else:
        checkpoint = read_manylangs(options.folder)
    bundle = write_checkpoint(
        checkpoint,
        options.out,
        name=name,
        languages=options.languages,
        licence=options.licence,
        dtype=options.dtype,
        sentences=sentences,
    )
    print(f"wrote {options.out}: {report(bundle)}")
    return True

"""`polyseme inspect`: what a bundle is, once every file of it has been found to be the one that was written.

The training record of a manifest is its writer's own: of what is expected in it anything may be missing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from model.bundle import Bundle
from model.files import CONTEXT_ENCODERS, MANIFEST_FILE, MODEL_CARD_FILE
from service.commands.terminal import printable, table
from service.refusal import Refusal
from service.settings import Settings

Record = Mapping[str, Any]

SHOWN_SHA256 = 16
"""Characters of a hash in the table of files; --json has all 64."""


def inspect(flags: argparse.Namespace, settings: Settings) -> None:
    """Print what a bundle is. Raises BundleError when a file is not what the manifest lists, Refusal."""
    folders = settings.bundle if flags.folder is None else (flags.folder,)
    if len(folders) != 1:
        raise Refusal(f"POLYSEME_BUNDLE: expected one folder, got {len(folders)}; name the one to inspect")
    about = describe(Bundle.open(folders[0]))
    if flags.json:
        print(json.dumps(about, ensure_ascii=False))
    else:
        print(*page(about), sep="\n")


def describe(bundle: Bundle) -> dict[str, Any]:
    """Return what --json prints of a bundle whose files have been verified."""
    manifest, architecture = bundle.manifest, bundle.manifest.architecture
    sha256 = {MANIFEST_FILE: manifest.sha256, **manifest.files}
    files = [
        {"name": name, "bytes": (bundle.folder / name).stat().st_size, "sha256": sha256[name]}
        for name in sorted(sha256)
    ]
    records = [manifest.training, *(_object(base, "training") for base in _bases(manifest.training))]
    return {
        "folder": str(bundle.folder.absolute()),
        "name": manifest.name,
        "sha256": manifest.sha256,
        "languages": manifest.languages,
        "licence": manifest.licence,
        "layers": manifest.layer_names,
        "dimension": architecture.dimension,
        "parameters": sum(map(math.prod, architecture.tensor_shapes().values())),
        "tokenizer": manifest.tokenizer,
        "vocabulary_size": architecture.vocabulary_size or None,
        "has_softmax": architecture.has_softmax,
        "weights_dtype": manifest.weights_dtype,
        "precisions": [precision for precision, file in CONTEXT_ENCODERS.items() if file in manifest.files],
        "architecture": architecture.to_dict(),
        "tokens_seen": sum(count for each in records if isinstance(count := each.get("tokens_seen"), int)),
        "corpora": list(dict.fromkeys(line for each in records for line in _texts(each.get("corpora")))),
        "bases": [
            {name: base.get(name) for name in ("name", "sha256", "licence")}
            for base in _bases(manifest.training)
        ],
        "heldout_perplexity": _object(manifest.training, "heldout_perplexity"),
        "rounding": manifest.rounding,
        "limits": _limits(bundle),
        "bytes": sum(file["bytes"] for file in files),
        "files": files,
    }


def page(about: Record) -> list[str]:
    """Return the same for people, in lines."""
    architecture = about["architecture"]
    layers = ", ".join(about["layers"])
    reads = (
        f"{about['vocabulary_size']:,} pieces, " if about["tokenizer"] == "sentencepiece" else "words, "
    ) + f"{architecture['num_characters']:,} characters"
    does = "vectors, score and cloze" if about["has_softmax"] else "vectors (no softmax: no score, no cloze)"
    facts = [
        ("folder", about["folder"]),
        ("fingerprint", f"sha256 {about['sha256']}, of {MANIFEST_FILE}"),
        ("languages", ", ".join(about["languages"]) or "not stated"),
        ("licence", about["licence"]),
        ("layers", f"{len(about['layers'])} of {about['dimension']:,} values: {layers}"),
        ("parameters", f"{about['parameters']:,} in {about['weights_dtype']}"),
        ("precision", " or ".join(about["precisions"])),
        ("reads", reads),
        ("gives", does),
        ("trained on", f"{about['tokens_seen']:,} tokens" if about["tokens_seen"] else "not stated"),
        *((("text" if i == 0 else ""), line) for i, line in enumerate(about["corpora"])),
        *(("base", f"{each['name']}, sha256 {each['sha256']}, {each['licence']}") for each in about["bases"]),
        *((("held out" if i == 0 else ""), line) for i, line in enumerate(_perplexities(about))),
        *((("limits" if i == 0 else ""), line) for i, line in enumerate(about["limits"])),
    ]
    rows = [(each["name"], f"{each['bytes']:,}", each["sha256"][:SHOWN_SHA256]) for each in about["files"]]
    return [
        printable(about["name"]),
        *(f"  {name:12}{printable(fact)}" for name, fact in facts),
        "",
        *table([("file", "bytes", "sha256"), *rows], numbers=(1,)),
        f"{about['bytes'] / 1e6:.1f} MB in {len(rows)} files, every one as {MANIFEST_FILE} has it",
    ]


def _bases(record: Record) -> Iterator[Record]:
    """Yield the bundle that a run started from, the one that that one started from, and so on."""
    while base := _object(record, "base"):
        yield base
        record = _object(base, "training")


def _perplexities(about: Record) -> list[str]:
    return [
        f"{language}: perplexity {value:,.1f} a token, {direction}"
        for language, directions in about["heldout_perplexity"].items()
        for direction in _object(about["heldout_perplexity"], language)
        if isinstance(value := _object(directions, direction).get("token"), float)
    ]


def _limits(bundle: Bundle) -> list[str]:
    """Return the points under "Limits" on the model card, where they stand for people."""
    if MODEL_CARD_FILE not in bundle.manifest.files:
        return []
    card = (bundle.folder / MODEL_CARD_FILE).read_text(encoding="utf-8", errors="replace")
    section = card.partition("\n## Limits\n")[2].partition("\n## ")[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]


def _object(record: Record, name: str) -> Record:
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []

"""`polyseme tasks`: what is in the store of learned tasks, without a server."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle
from model.tasks.task import Task
from service.commands.store import open_to_read, open_to_write, target_of
from service.commands.terminal import printable, table
from service.refusal import EXIT_NO, Refusal
from service.settings import Settings
from service.task_store.records import StoredTask, TaskSummary, task_name
from service.task_store.target import StoreTarget
from service.tasks.entries import entry
from service.tasks.report_table import report_table

STANDARD_INPUT = Path("-")

SHOWN_LABELS = 20


def tasks(flags: argparse.Namespace, settings: Settings) -> None:
    """Do what is asked of the store. Raises Refusal, BundleError, OSError."""
    target = target_of(settings)
    match flags.action:
        case "list":
            _list(flags, target)
        case "show":
            _show(_stored(flags.name, target), as_json=flags.json)
        case "delete":
            _delete(flags, target)
        case "export":
            _export(_stored(flags.name, target), flags.out)
        case "import":
            _import(flags, target, settings.bundle)


def _list(flags: argparse.Namespace, target: StoreTarget) -> None:
    with open_to_read(target) as store:
        summaries = [] if store is None else store.summaries()
    if flags.json:
        print(json.dumps({"tasks": list(map(entry, summaries))}, ensure_ascii=False))
    elif flags.quiet:
        print("".join(f"{summary.name}\n" for summary in summaries), end="")
    elif summaries:
        head = ("NAME", "KIND", "MODEL", "LABELS", "LAYERS", "UPDATED (UTC)", "BYTES")
        print(*table([head, *map(_row, summaries)], numbers=(3, 6)), sep="\n")
    else:
        print(f"no task in {target}", file=sys.stderr)


def _row(summary: TaskSummary) -> tuple[str, ...]:
    about = entry(summary)
    weights = " ".join(f"{weight:.2f}" for weight in about["weights"])
    updated = f"{summary.updated_at:%Y-%m-%d %H:%M}"
    labels, size = str(about["num_labels"]), f"{summary.size_bytes:,}"
    return summary.name, summary.kind, printable(summary.model), labels, weights, updated, size


def _show(stored: StoredTask, *, as_json: bool) -> None:
    try:
        task = Task.from_document(json.loads(stored.document))
    except ValueError as error:  # of a newer version than this one knows
        raise Refusal(f"task {stored.name}: {error}") from None
    if as_json:
        document = task.to_document()
        about = {**entry(stored), "labels": document["labels"], "report": document["report"]}
        print(json.dumps(about, ensure_ascii=False))
        return
    print(stored.name)
    facts = [
        ("kind", task.kind),
        ("model", f"{printable(task.model)}, sha256 {task.model_sha256}"),
        ("labels", _labels(task) or "none"),
        (
            "kept",
            f"{stored.created_at:%Y-%m-%d %H:%M:%S}, changed {stored.updated_at:%Y-%m-%d %H:%M:%S} (UTC)",
        ),
        ("size", f"{stored.size_bytes:,} bytes"),
    ]
    print(*(f"  {name:8}{fact}" for name, fact in facts), "", sep="\n")
    if task.report is None:
        weights = ", ".join(f"{weight:.2f}" for weight in task.weights)
        print(f"no report: learned elsewhere\nweights of the layers: {weights}; gamma {task.gamma:.3g}")
    else:
        print(report_table(task.report))


def _labels(task: Task) -> str:
    counts = {} if task.report is None else task.report.label_counts
    shown = [
        printable(label) + (f" ({counts[label]})" if label in counts else "")
        for label in task.labels[:SHOWN_LABELS]
    ]
    more = len(task.labels) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _delete(flags: argparse.Namespace, target: StoreTarget) -> None:
    names = list(dict.fromkeys(map(_name, flags.name)))
    with open_to_read(target) as store:
        there = set() if store is None else {summary.name for summary in store.summaries()}
        for name in names:
            if name not in there:
                raise _no_task(name, target)
        assert store is not None
        if not flags.yes:
            _ask(f"delete {', '.join(names)} from {target}?")
        for name in names:
            if not store.delete(name):  # another was faster
                raise _no_task(name, target)
            print(f"deleted {name}", file=sys.stderr)


def _ask(question: str) -> None:
    """Return when the answer is yes. Raises Refusal."""
    if not sys.stdin.isatty():
        raise Refusal("expected a terminal to ask on, or --yes")
    print(question, "[y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refusal("nothing is deleted", EXIT_NO)


def _export(stored: StoredTask, out: Path | None) -> None:
    if out is None:
        print(stored.document)
        return
    out.write_text(stored.document + "\n", encoding="utf-8")
    print(f"written to {out}", file=sys.stderr)


def _import(flags: argparse.Namespace, target: StoreTarget, bundles: Sequence[Path]) -> None:
    # With what reads an upload, as the server does: it takes a moment to load.
    from service.body import parse_document
    from service.errors import ServiceError
    from service.tasks.learned_tasks import new_task, uploaded_task

    is_stdin = flags.file == STANDARD_INPUT
    place = "standard input" if is_stdin else str(flags.file)
    body = sys.stdin.buffer.read() if is_stdin else flags.file.read_bytes()
    models = [BundleModel.of(folder) for folder in bundles]
    try:
        document = parse_document(body)
        if flags.name is not None and isinstance(document, dict):
            document = {**document, "name": flags.name}
        task = uploaded_task(document, _name_in(document), models)
    except ServiceError as error:
        raise Refusal(": ".join(part for part in (place, error.where, error.message) if part)) from None
    except ValueError as error:
        raise Refusal(f"{place}: name: {error}") from None
    with open_to_write(target) as store:
        summary = store.put(new_task(task))
    verb = "kept" if summary.created_at == summary.updated_at else "replaced"
    print(f"{verb} {task.name} in {target}", file=sys.stderr)


def _name_in(document: Any) -> str:
    """Raises ValueError."""
    name = document.get("name") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise ValueError("expected a document with one, or --name")
    return task_name(name)


@dataclass(frozen=True, slots=True)
class BundleModel:
    """What `uploaded_task` asks of a model, from a bundle that is not loaded."""

    name: str
    sha256: str
    num_layers: int
    dimension: int

    @classmethod
    def of(cls, folder: Path) -> BundleModel:
        """Raises BundleError."""
        manifest = Bundle.open(folder).manifest
        architecture = manifest.architecture
        return cls(manifest.name, manifest.sha256, architecture.num_vector_layers, architecture.dimension)


def _stored(given: str, target: StoreTarget) -> StoredTask:
    name = _name(given)
    with open_to_read(target) as store:
        stored = None if store is None else store.get(name)
    if stored is None:
        raise _no_task(name, target)
    return stored


def _name(given: str) -> str:
    try:
        return task_name(given)
    except ValueError as error:
        raise Refusal(f"NAME: {error}") from None


def _no_task(name: str, target: StoreTarget) -> Refusal:
    return Refusal(f"no task {name} in {target}; `polyseme tasks list` shows what there is", EXIT_NO)

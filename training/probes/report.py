"""Results on disk, one JSON file per model and set, and the table over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from training.atomic import write_atomically

# Goes up when the protocol changes, so that numbers of two protocols never stand in one table.
PROTOCOL_VERSION = 1

Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Probed:
    """What a set's probe found: a row of numbers per kind of vector, and the sizes behind them."""

    rows: dict[str, Row]
    details: dict[str, int]


@dataclass(frozen=True, slots=True)
class SetResult:
    """One set's numbers for one model, as they are kept on disk.

    model_key and data_sha256 say what was measured on what; `metrics` are the columns for the table.
    """

    set_name: str
    model_key: str
    data_sha256: str
    protocol_version: int
    metrics: list[str]
    rows: dict[str, Row]
    details: dict[str, int]
    seconds: float


def result_path(out: Path, model_key: str, set_name: str) -> Path:
    """Where a result is kept: out/sets/KEY/SET.json."""
    return out / "sets" / model_key[:16] / f"{set_name}.json"


def load_result(path: Path) -> SetResult | None:
    """None when there is none, or what is there was not written by `save_result` of this version."""
    try:
        return SetResult(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def save_result(path: Path, result: SetResult) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n").encode())


def markdown_table(title: str, results: Mapping[str, SetResult]) -> str:
    """Kinds of vectors down, sets across, x 100; the best of each set's first metric in bold."""
    names: list[str] = []
    for result in results.values():
        names += [name for name in result.rows if name not in names]
    head = ["vectors", *(f"{name} ({', '.join(result.metrics)})" for name, result in results.items())]
    lines = [_line(head), _line(["---", *["---:"] * len(results)])]
    for name in names:
        lines.append(_line([name, *(_cell(name, result) for result in results.values())]))
    return f"# {title}\n\n" + "\n".join(lines) + "\n"


def _cell(name: str, result: SetResult) -> str:
    row = result.rows.get(name)
    if row is None:
        return ""
    text = " / ".join(f"{100 * row[metric]:.1f}" for metric in result.metrics)
    best = max(other[result.metrics[0]] for other in result.rows.values())
    return f"**{text}**" if row[result.metrics[0]] == best else text


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

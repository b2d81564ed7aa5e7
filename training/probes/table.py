"""The report: Markdown tables and JSON over the results of one model, other rows beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from model.tasks.report import EQUAL, LEARNED, LEARNED_WITH_TEXT
from training.atomic import write_atomically
from training.probes.features import is_layer
from training.probes.intervals import Row
from training.probes.report import SENSE_WITH_TEXT, SetResult
from training.probes.rows import BaselineRow

_PROTOCOL = """Frozen vectors, one protocol for every set: senses by the nearest centroid (cosine), pairs by
the cosine, tags and sentences (mean of their tokens) by a linear probe (standardised, logistic regression, C
of 0.001, 0.03 and 1 chosen on dev). At most 40,000 training words or 10,000 sentences (coarsewsd20: 5,000;
wsd_semcor_all: five sentences a sense); sentences that stand in test are taken out of training; tests are
whole, but for blimp: the first 100 pairs of each paradigm. All numbers x 100, in brackets 95% intervals. The
learned mix comes from training examples alone; "learned + text": a mix of the layers and of the mean of all
token vectors (layer 0) of the sentence, as a `sense` task of the service predicts with.
"""


def write_report(
    out: Path,
    title: str,
    results: Mapping[str, SetResult],
    beside: Sequence[BaselineRow],
    plots: Sequence[Path],
) -> None:
    """out/report.md and out/report.json."""
    document = {
        "title": title,
        "results": {name: asdict(result) for name, result in results.items()},
        "beside": [asdict(row) for row in beside],
    }
    write_atomically(
        out / "report.json", (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
    )
    links = "".join(f"![{plot.stem}]({plot.relative_to(out).as_posix()})\n\n" for plot in plots)
    parts = [
        f"# {title}\n\n{_PROTOCOL}",
        layer_table(results),
        mix_table(results),
        typo_table(results),
        beside_table(results, beside),
        links,
    ]
    write_atomically(out / "report.md", "\n".join(part for part in parts if part).encode())


def layer_table(results: Mapping[str, SetResult]) -> str:
    """Sets down, kinds of vectors across; the best of a set's main metric in bold."""
    columns = _vector_columns(results)
    lines = [
        _line(["set", "metric", "floor", *columns]),
        _line(["---", "---", *["---:"] * (len(columns) + 1)]),
    ]
    for name, result in results.items():
        own = {column: result.rows.get(column) for column in columns}
        floor = {key: row for key, row in result.rows.items() if key not in columns}
        best = max((row[result.metrics[0]] for row in own.values() if row), default=float("nan"))
        cells = [_cell(row, result.metrics, best) for row in own.values()]
        lines.append(_line([name, ", ".join(result.metrics), _floors(floor, result.metrics), *cells]))
    return "## Layers and mixes\n\n" + "\n".join(lines) + "\n"


def mix_table(results: Mapping[str, SetResult]) -> str:
    """What was learned, and how it stands to the best single layer, with the text to the mix without; empty
    when nothing was learned."""
    lines = [
        _line(["set", "learned from", "weights", "shares", "difference to", "95% interval"]),
        _line(["---"] * 3 + ["---", "---:", "---:"]),
    ]
    for name, result in results.items():
        for position, (target, mix) in enumerate(result.learned.items()):
            numbers = (" ".join(f"{value:.2f}" for value in mix[key]) for key in ("weights", "shares"))
            against = _against(result, target, is_first=position == 0)
            lines.append(_line([name, target, *numbers, *against]))
    if len(lines) == 2:
        return ""
    return (
        "## The learned mix\n\nWeights as a request takes them, with text that of the text's mean last; "
        "shares: of layers brought to the same spread, which says how much of the mix each is. The best "
        "layer is the best one of this very test, which favours it; intervals from 500 resamples of the "
        "test's sentences.\n\n" + "\n".join(lines) + "\n"
    )


def _against(result: SetResult, target: str, *, is_first: bool) -> tuple[str, str]:
    """How a mix does beside the best layer, or one with the text beside the one without, and the interval."""
    if target == SENSE_WITH_TEXT:
        row, gain = result.rows[LEARNED_WITH_TEXT], f"{result.metrics[0]}_gain"
        return f"{100 * row[gain]:+.1f} ({LEARNED})", _interval_text(row[f"{gain}_low"], row[f"{gain}_high"])
    if result.against_layer is None or not is_first:
        return "", ""
    against = result.against_layer
    difference = f"{100 * against['difference']:+.1f} ({against['layer']})"
    return difference, _interval_text(against["low"], against["high"])


def typo_table(results: Mapping[str, SetResult]) -> str:
    """What typing errors cost the main metric; empty when no set has such tests."""
    kinds = ("natural", "typo10", "typo30")
    rows: list[str] = []
    for name, result in results.items():
        main = result.metrics[0]
        for vectors, row in result.rows.items():
            lost = [row[main] - row[f"{main}_{kind}"] if f"{main}_{kind}" in row else None for kind in kinds]
            if any(value is not None for value in lost):
                cells = ["" if value is None else f"{100 * value:.1f}" for value in lost]
                rows.append(_line([name, vectors, f"{100 * row[main]:.1f}", *cells]))
    if not rows:
        return ""
    head = [_line(["set", "vectors", "clean", *(f"lost, {kind}" for kind in kinds)])]
    head.append(_line(["---", "---", *["---:"] * 4]))
    return "## Typing errors\n\nTrained on clean text.\n\n" + "\n".join([*head, *rows]) + "\n"


def beside_table(results: Mapping[str, SetResult], beside: Sequence[BaselineRow]) -> str:
    """The learned mix (or the only vectors there are) beside rows from elsewhere; empty without such rows."""
    shown = [row for row in beside if row.set in results and results[row.set].metrics[0] in row.metrics]
    if not shown:
        return ""
    lines = [
        _line(["set", "vectors", "metric", "value", "source"]),
        _line(["---", "---", "---", "---:", "---"]),
    ]
    for name, result in results.items():
        own_rows = [row for row in shown if row.set == name]
        if not own_rows:
            continue
        for vectors in result.headline:
            text = _numbers(result.rows[vectors], result.metrics)
            lines.append(_line([name, f"**{vectors}**", ", ".join(result.metrics), text, "this report"]))
        for row in own_rows:
            metrics = [metric for metric in result.metrics if metric in row.metrics]
            lines.append(
                _line([name, row.column, ", ".join(metrics), _numbers(row.metrics, metrics), row.source])
            )
    return "## Beside other vectors\n\n" + "\n".join(lines) + "\n"


def _vector_columns(results: Mapping[str, SetResult]) -> list[str]:
    names = {name for result in results.values() for name in result.vector_rows}
    layers = sorted((n for n in names if is_layer(n)), key=lambda n: int(n.removeprefix("layer ")))
    return [*layers, *(name for name in (EQUAL, LEARNED, LEARNED_WITH_TEXT) if name in names)]


def _cell(row: Row | None, metrics: Sequence[str], best: float) -> str:
    if row is None:
        return ""
    main = metrics[0]
    text = _numbers(row, metrics)
    marked = f"**{text}**" if row[main] == best else text
    return f"{marked} ({_interval_text(row[f'{main}_low'], row[f'{main}_high'], sign='')})"


def _floors(rows: Mapping[str, Row], metrics: Sequence[str]) -> str:
    return "; ".join(f"{name} {_numbers(row, metrics)}" for name, row in rows.items())


def _numbers(row: Mapping[str, float], metrics: Sequence[str]) -> str:
    return " / ".join(f"{100 * row[metric]:.1f}" for metric in metrics)


def _interval_text(low: float, high: float, sign: str = "+") -> str:
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

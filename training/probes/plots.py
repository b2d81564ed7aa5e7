"""The report's pictures, as SVG: layer against task, learned weights, a word's senses layer by layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from model.tasks.report import LEARNED_WITH_TEXT, layer_name
from training.probes.choices import LIKELIER
from training.probes.features import is_layer
from training.probes.report import SetResult

_COLUMNS = 4


def draw(results: Mapping[str, SetResult], folder: Path) -> list[Path]:
    """Draw what these results allow; return the files, in the order in which a report shows them."""
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    by_layer = {name: result for name, result in results.items() if LIKELIER not in result.rows}
    if by_layer:
        figures["layers"] = layers_figure(by_layer)
    if any(result.learned for result in results.values()):
        figures["learned_shares"] = shares_figure(results)
    for name, result in results.items():
        if result.picture is not None:
            figures[f"senses_{name}"] = senses_figure(name, result.picture)
    paths = []
    with _plain_svg():
        for name, figure in figures.items():
            paths.append(folder / f"{name}.svg")
            # No date: the same results give the same file.
            figure.savefig(paths[-1], metadata={"Date": None}, bbox_inches="tight")
    return paths


def layers_figure(results: Mapping[str, SetResult]) -> Figure:
    """A panel for each set: its main metric by layer, equal and learned mix, with 95% intervals."""
    num_rows = math.ceil(len(results) / _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.2 * num_rows), layout="constrained")
    grid = figure.subplots(num_rows, _COLUMNS, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(results):
            axes.set_axis_off()
            continue
        name, result = list(results.items())[place]
        main = result.metrics[0]
        shown = result.vector_rows
        values = [100 * result.rows[key][main] for key in shown]
        ranges = [
            [v - 100 * result.rows[k][f"{main}_low"] for k, v in zip(shown, values, strict=True)],
            [100 * result.rows[k][f"{main}_high"] - v for k, v in zip(shown, values, strict=True)],
        ]
        axes.errorbar(
            range(len(shown)), values, yerr=[[max(0.0, x) for x in r] for r in ranges], fmt="o", capsize=3
        )
        axes.set_xticks(range(len(shown)), [_short(key) for key in shown])
        axes.set_title(f"{name}: {main}", fontsize=9)
        axes.margins(x=0.15)
    return figure


def shares_figure(results: Mapping[str, SetResult]) -> Figure:
    """A bar for each mix, its parts the shares of the layers and, after them, of the text's mean."""
    mixes = {
        name if len(result.learned) == 1 else f"{name}, {target}": mix["shares"]
        for name, result in results.items()
        for target, mix in result.learned.items()
    }
    figure = Figure(figsize=(7, 0.9 + 0.3 * len(mixes)), layout="constrained")
    axes = figure.subplots()
    num_layers = max(sum(map(is_layer, result.rows)) for result in results.values())
    left = [0.0] * len(mixes)
    for part in range(max(map(len, mixes.values()))):
        widths = [shares[part] if part < len(shares) else 0.0 for shares in mixes.values()]
        label = layer_name(part) if part < num_layers else "text"
        axes.barh(list(mixes), widths, left=left, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the learned mix")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    return figure


def senses_figure(set_name: str, picture: Mapping[str, Any]) -> Figure:
    """The layers beside each other, a colour for each sense."""
    points = picture["points"]
    figure = Figure(figsize=(3.4 * len(points), 3.6), layout="constrained")
    for axes, (layer, own) in zip(
        figure.subplots(1, len(points), squeeze=False)[0], points.items(), strict=True
    ):
        for number, sense in enumerate(picture["senses"]):
            xs, ys = zip(*(p for p, of in zip(own, picture["of"], strict=True) if of == number), strict=True)
            axes.scatter(xs, ys, s=14, alpha=0.7, label=sense)
        axes.set_title(layer, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle(f"{picture['word']} ({set_name})", fontsize=11)
    return figure


def _short(row: str) -> str:
    """A row's name below a small panel."""
    return "+ text" if row == LEARNED_WITH_TEXT else row.removeprefix("layer ")


@contextmanager
def _plain_svg() -> Iterator[None]:
    """Text as text, in whatever font the reader has, and ids that do not change from run to run."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "polyseme"}), warnings.catch_warnings():
        # A Hangul label is measured here with a font that lacks it, but drawn by the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield

"""Held-out perplexity against tokens, drawn from the records of runs: what `polyseme-train curves` does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from training.lineage import tokens_in_all
from training.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Curve:
    """tokens: seen until then, by the bundle that the run started from too."""

    name: str
    tokens: list[int]
    perplexities: list[float]


def read_curve(folder: Path) -> Curve:
    """Return what a run measured of its held-out text; its name is the folder's.

    Raises ValueError when the folder holds no such record.
    """
    workspace = Workspace(folder)
    base = workspace.base
    before = 0 if base is None else tokens_in_all(base["training"])
    measured = [(entry["tokens"], entry["heldout"]) for entry in workspace.record() if "heldout" in entry]
    if not measured:
        raise ValueError(f"{workspace.record_path}: expected a run with a measured perplexity, found none")
    tokens, nats = zip(*measured, strict=True)
    return Curve(folder.resolve().name, [before + each for each in tokens], [math.exp(each) for each in nats])


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """Write an SVG or PNG, as the name's ending says; the same runs give the same SVG.

    Raises ValueError for another ending.
    """
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"{path}: expected a name that ends in .svg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "polyseme"}):
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        curves_figure(curves).savefig(path, metadata=metadata)


def curves_figure(curves: Sequence[Curve]) -> Figure:
    """A line a run, perplexity on a logarithmic axis."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for curve in curves:
        millions = [tokens / 1e6 for tokens in curve.tokens]
        axes.plot(millions, curve.perplexities, marker="o", markersize=3, label=curve.name)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.set_xlabel("million tokens")
    axes.set_ylabel("held-out perplexity per token")
    axes.grid(which="both", linewidth=0.3)
    axes.legend(frameon=False)
    return figure

"""Perplexity per token, per word and per character, of each direction and of both together."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import starmap
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.files import Precision
from training.perplexity.score import Counts, Scorer
from training.perplexity.texts import Text

Values = dict[str, float | None]
"""By direction, "both" among them."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One text, or a part of it, in one precision."""

    name: str
    treatment: str
    precision: Precision
    counts: Counts

    def perplexities(self) -> dict[str, Values]:
        """By unit: exp of the nats of a direction per token, word or character; of "both", of their mean.

        None where a float cannot hold it.
        """
        counts = self.counts
        nats = {
            "forward": counts.forward,
            "backward": counts.backward,
            "both": (counts.forward + counts.backward) / 2,
        }
        units = {"token": counts.num_tokens, "word": counts.num_words, "character": counts.num_characters}
        return {
            unit: {direction: _exp(total / number) for direction, total in nats.items()}
            for unit, number in units.items()
        }

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "perplexity": self.perplexities()}


def measure(
    folder: Path,
    texts: Sequence[Text],
    precision: Precision,
    *,
    num_threads: int = 2,
    show_progress: bool = True,
) -> list[Measured]:
    """Measure every text whole, without its masked words where it has some, and part by part.

    Raises BundleError, and ValueError as `Scorer`.
    """
    scorer = Scorer(folder, precision, num_threads)
    found: list[Measured] = []
    for text in texts:
        with tqdm(
            total=len(text.lines), desc=f"{text.name}, {precision}", disable=None if show_progress else True
        ) as bar:
            whole, known = scorer.score(text.lines, bar)

        def add(name: str, counts: Sequence[Counts], text: Text = text) -> None:
            total = sum(counts, Counts())
            # The publisher's blank lines are words that cost nothing here: they are no part of a part.
            num_words = total.num_words + (text.num_blank_lines if len(counts) == len(text.lines) else 0)
            found.append(Measured(name, text.treatment, precision, replace(total, num_words=num_words)))

        add(text.name, whole)
        if any(line.unknown for line in text.lines):
            add(f"{text.name}, its `<unk>` not counted", known)
        for part, lines in text.parts.items():
            add(f"{text.name}: {part}", whole[lines.start : lines.stop])
    return found


def markdown_table(rows: Sequence[Measured]) -> str:
    """A row a text and precision; in each cell forward / backward / both."""
    head = ("text", "precision", "words", "not in the vocabulary", "per token", "per word", "per character")
    lines = [_line(head), _line(["---", "---", *["---:"] * 5])]
    for row in rows:
        cells = [row.name, row.precision, f"{row.counts.num_words:,}"]
        cells.append(f"{100 * row.counts.num_unknown / row.counts.num_tokens:.2f} %")
        cells += starmap(_cell, zip(row.perplexities().values(), (1, 1, 3), strict=True))
        lines.append(_line(cells))
    treatments = dict.fromkeys((row.name.partition(":")[0].partition(",")[0], row.treatment) for row in rows)
    notes = [f"- {name}: {treatment}." for name, treatment in treatments]
    return "\n".join([*lines, "", *notes]) + "\n"


def _cell(values: Values, digits: int) -> str:
    return " / ".join("–" if value is None else f"{value:,.{digits}f}" for value in values.values())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _exp(nats: float) -> float | None:
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None

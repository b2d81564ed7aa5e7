"""Labelled texts: tables with a text and one or more columns of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.rows import table_rows


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its labels, one for each column asked for."""

    text: str
    labels: tuple[str, ...]


def read_texts(path: Path, label_columns: Sequence[str]) -> list[LabelledText]:
    """A table with `text` and the columns of labels. Raises ValueError, naming file and line."""
    texts = []
    for where, (text, *labels) in table_rows(path, "text", *label_columns):
        for column, label in zip(label_columns, labels, strict=True):
            if not label:
                raise ValueError(f"{where}: {column}: expected a label, got nothing")
        texts.append(LabelledText(text, tuple(labels)))
    return texts

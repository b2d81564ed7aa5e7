"""Results on disk, one JSON file per model and set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model.tasks.report import EQUAL, LEARNED, LEARNED_WITH_TEXT
from training.atomic import write_atomically
from training.probes.features import is_layer
from training.probes.intervals import Difference, Row
from training.probes.mix import LearnedMix

# Goes up when the protocol changes, so that numbers of two protocols never stand in one table.
PROTOCOL_VERSION = 3
# What the mix of the row "learned + text" is called among those that were learned.
SENSE_WITH_TEXT = "sense, with text"


@dataclass(frozen=True, slots=True)
class Picture:
    """A word's test examples on each layer's two main axes: points[layer][i] has the sense senses[of[i]]."""

    word: str
    senses: list[str]
    of: list[int]
    points: dict[str, list[list[float]]]


@dataclass(frozen=True, slots=True)
class Probed:
    """What a set's probe found: a row of numbers per kind of vector, and the sizes behind them.

    learned: the mix of each thing learned; against_layer: how it stands to the best single layer.
    """

    rows: dict[str, Row]
    details: dict[str, int]
    learned: Mapping[str, LearnedMix | None] = field(default_factory=dict)
    against_layer: Difference | None = None
    picture: Picture | None = None


@dataclass(frozen=True, slots=True)
class SetResult:
    """One set's numbers for one model, as they are kept on disk.

    model_key and data_sha256 say what was measured on what; `metrics` are the columns for the table. learned:
    `weights` and `shares` of each mix (mix.py); against_layer and picture: the fields of `Difference` and
    `Picture`, or None.
    """

    set_name: str
    model_key: str
    data_sha256: str
    protocol_version: int
    metrics: list[str]
    rows: dict[str, Row]
    details: dict[str, int]
    learned: dict[str, dict[str, list[float]]]
    against_layer: dict[str, Any] | None
    picture: dict[str, Any] | None
    seconds: float

    @classmethod
    def of(
        cls,
        set_name: str,
        metrics: tuple[str, ...],
        model_key: str,
        data_sha256: str,
        probed: Probed,
        seconds: float,
    ) -> SetResult:
        learned = {
            name: {"weights": mix.weights_L.tolist(), "shares": mix.shares_L.tolist()}
            for name, mix in probed.learned.items()
            if mix is not None
        }
        return cls(
            set_name,
            model_key,
            data_sha256,
            PROTOCOL_VERSION,
            list(metrics),
            probed.rows,
            probed.details,
            learned,
            None if probed.against_layer is None else asdict(probed.against_layer),
            None if probed.picture is None else asdict(probed.picture),
            seconds,
        )

    @property
    def vector_rows(self) -> list[str]:
        """The rows of layers and of their mixes: no floors, and no scores of a language model."""
        mixes = (EQUAL, LEARNED, LEARNED_WITH_TEXT)
        return [name for name in self.rows if is_layer(name) or name in mixes]

    @property
    def headline(self) -> list[str]:
        """The rows to quote: the best, of vectors if there are any, by the main metric; the learned mixes."""
        best = max(self.vector_rows or self.rows, key=lambda name: self.rows[name][self.metrics[0]])
        return [name for name in dict.fromkeys([best, LEARNED, LEARNED_WITH_TEXT]) if name in self.rows]

    def is_of(self, model_key: str, data_sha256: str) -> bool:
        came = (self.model_key, self.data_sha256, self.protocol_version)
        return came == (model_key, data_sha256, PROTOCOL_VERSION)


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

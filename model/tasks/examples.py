"""Labelled examples as a fit takes them, checked.

Shape letters: N examples, L layers, C = L + 1 for `sense` and L otherwise, D vector dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.tasks.report import HeldOut
from model.tasks.task import Kind

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

# Below, the held-out part is a handful, and no number about it means anything.
MIN_EXAMPLES = 10


@dataclass(frozen=True, eq=False)
class Examples:
    """features_NCD: float32, each layer's vectors pooled, for `sense` the global context after them; may be
    memory-mapped. labels: N; words: N for `sense`, else None."""

    features_NCD: Floats
    labels: Sequence[str]
    words: Sequence[str] | None = None

    def check(self, kind: Kind, name: str) -> None:
        """Raise ValueError with the numbers when parts do not fit together."""
        features = self.features_NCD
        if features.ndim != 3 or features.dtype != np.float32 or 0 in features.shape[1:]:
            raise ValueError(f"{name}: expected float32 (N, C, D), got {features.dtype} {features.shape}")
        if kind == "sense" and features.shape[1] < 2:
            raise ValueError(f"{name}: expected a layer and the global context after it, got one vector")
        columns = {"labels": self.labels}
        if kind == "sense":
            if self.words is None:
                raise ValueError(f"{name} words: expected {len(features)}, one for each example, got none")
            columns["words"] = self.words
        elif self.words is not None:
            raise ValueError(f"{name} words: expected none for {kind}, got {len(self.words)}")
        for what, values in columns.items():
            if len(values) != len(features):
                raise ValueError(
                    f"{name} {what}: expected {len(features)}, one for each example, got {len(values)}"
                )
            for index, value in enumerate(values):
                if not value:
                    raise ValueError(f"{name} {what}[{index}]: expected a text, not empty, got {value!r}")


def group_numbers(groups: Sequence[int] | Integers | None, num_examples: int) -> Integers:
    """Return int64 (N): the given groups, or each example its own. Raises ValueError when there are not N."""
    if groups is None:
        return np.arange(num_examples)
    numbers = np.asarray(groups, dtype=np.int64)
    if numbers.shape != (num_examples,):
        raise ValueError(f"groups: expected {num_examples}, one for each example, got shape {numbers.shape}")
    return numbers


def indices(values: Sequence[str], of: Sequence[str]) -> Integers:
    """Return each value's index in `of`, int64 (N), -1 for one that is not there."""
    index_of = {value: index for index, value in enumerate(of)}
    return np.array([index_of.get(value, -1) for value in values], dtype=np.int64)


def num_groups_of_each(targets_N: Integers, groups_N: Integers) -> Integers:
    """Return, for each target from 0, in how many groups it occurs."""
    pairs = np.unique(np.stack([targets_N, groups_N]), axis=1)
    counts: Integers = np.bincount(pairs[0], minlength=int(targets_N.max()) + 1)
    return counts


def held_out_name(dev: Examples | None, num_folds: int) -> HeldOut:
    """Return what a report calls the way in which examples were held out."""
    if dev is not None:
        return "dev"
    return "folds" if num_folds > 1 else "split"

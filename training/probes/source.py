"""Where a probe's vectors come from: an interface, so that bundles and networks in training are probed alike.

Shapes: L layers, T tokens, H hidden; D = 2H here and in the other files of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SentenceLayers:
    """One sentence's visible tokens: code-point offsets, int64 (T,), and float32 layers (L, T, 2H)."""

    starts: IntArray
    ends: IntArray
    layers_LTD: FloatArray


class LayerSource(Protocol):
    """Anything whose layers can be probed: a served bundle, or a network in training."""

    @property
    def num_vector_layers(self) -> int:
        """L, the token vector included."""
        ...

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        """Yield one item per sentence, in input order.

        Callers pass long lists sorted by length, so that an implementation can batch neighbours.
        """
        ...


class SentenceScorer(Protocol):
    """Anything that says how likely a sentence is."""

    def sentence_scores(self, sentences: Sequence[str]) -> Doubles:
        """float64 (N,): log-probability read forward plus that read backward, the sentence's end included."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed, with how many threads, and whether bars are shown; scorer: None for vectors alone."""

    layers: LayerSource
    scorer: SentenceScorer | None = None
    num_threads: int = 1
    show_progress: bool = False

    def bar(self, description: str, total: int) -> tqdm[None]:
        return tqdm(total=total, desc=description, disable=not self.show_progress)

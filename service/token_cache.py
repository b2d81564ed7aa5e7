"""Token vectors by surface: exact, bounded, the least recently used leaving first.

A token's vector depends on its own characters alone (the character CNN sees no neighbours), so it can be kept
and given to any request. Not thread-safe: the engine's thread owns it.

Shape letters: N tokens, D token-vector dim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np

from service.backend import Floats


class TokenCache:
    """`capacity` vectors in one array; its memory is touched, and so used, only as it fills."""

    def __init__(self, capacity: int, dimension: int) -> None:
        self._vectors = np.zeros((capacity, dimension), dtype=np.float32)
        self._rows: OrderedDict[str, int] = OrderedDict()  # surface -> row, the least recently used first

    def __len__(self) -> int:
        return len(self._rows)

    def lookup(self, surfaces: Sequence[str], compute: Callable[[list[str]], Floats]) -> Floats:
        """Return float32 (N, D), one row for each of N distinct surfaces.

        compute: gives the vectors (M, D) of the M surfaces that are not kept; when it raises, nothing changes
        but the order of use.
        """
        rows = np.array([self._use(surface) for surface in surfaces], dtype=np.intp)
        if (rows >= 0).all():
            return self._vectors[rows]
        missing = np.flatnonzero(rows < 0).tolist()
        new_surfaces = [surfaces[i] for i in missing]
        new_vectors = compute(new_surfaces)
        vectors_ND = np.empty((len(surfaces), self._vectors.shape[1]), dtype=np.float32)
        found = np.flatnonzero(rows >= 0)
        vectors_ND[found] = self._vectors[rows[found]]
        vectors_ND[missing] = new_vectors
        self._keep(new_surfaces, new_vectors)
        return vectors_ND

    def _use(self, surface: str) -> int:
        """Return the surface's row and make it the most recently used, or -1."""
        row = self._rows.get(surface, -1)
        if row >= 0:
            self._rows.move_to_end(surface)
        return row

    def _keep(self, surfaces: Sequence[str], vectors_ND: Floats) -> None:
        capacity = len(self._vectors)
        excess = max(0, len(surfaces) - capacity)
        for surface, vector in zip(surfaces[excess:], vectors_ND[excess:], strict=True):
            full = len(self._rows) == capacity
            row = self._rows.popitem(last=False)[1] if full else len(self._rows)
            self._rows[surface] = row
            self._vectors[row] = vector

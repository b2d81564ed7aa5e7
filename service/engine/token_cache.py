"""Token vectors by surface: exact, bounded, the least recently used leaving first.

A token's vector depends on its own characters alone (the character CNN sees no neighbours), so it can be kept
and given to any request. Threads may share it: one looks up at a time.

Shape letters: N tokens, D token-vector dim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np

from service.engine.backend import Floats
from service.engine.observer import EngineObserver, Unobserved

_FIRST_ROWS = 1024


class TokenCache:
    """At most `capacity` vectors in one array, which doubles as it fills: a large capacity costs nothing
    until it is used."""

    def __init__(self, capacity: int, dimension: int, observer: EngineObserver | None = None) -> None:
        self._observer = observer or Unobserved()
        self._capacity = capacity
        self._vectors: Floats = np.empty((min(capacity, _FIRST_ROWS), dimension), dtype=np.float32)
        self._rows: OrderedDict[str, int] = OrderedDict()  # surface -> row, the least recently used first
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._rows)

    def lookup(self, surfaces: Sequence[str], compute: Callable[[list[str]], Floats]) -> Floats:
        """Return float32 (N, D), one row for each of N distinct surfaces.

        compute: gives the vectors (M, D) of the M surfaces that are not kept; when it raises, nothing changes
        but the order of use.
        """
        with self._lock:
            return self._lookup(surfaces, compute)

    def _lookup(self, surfaces: Sequence[str], compute: Callable[[list[str]], Floats]) -> Floats:
        row_of, use = self._rows.get, self._rows.move_to_end
        rows = np.array([row_of(surface, -1) for surface in surfaces], dtype=np.intp)
        for surface, row in zip(surfaces, rows.tolist(), strict=True):
            if row >= 0:
                use(surface)
        missing = np.flatnonzero(rows < 0).tolist()
        self._observer.cache(len(rows) - len(missing), len(missing))
        if not missing:
            return self._vectors[rows]
        new_surfaces = [surfaces[i] for i in missing]
        new_vectors = compute(new_surfaces)
        vectors_ND = np.empty((len(surfaces), self._vectors.shape[1]), dtype=np.float32)
        found = np.flatnonzero(rows >= 0)
        vectors_ND[found] = self._vectors[rows[found]]
        vectors_ND[missing] = new_vectors
        self._keep(new_surfaces, new_vectors)
        return vectors_ND

    def _keep(self, surfaces: Sequence[str], vectors_ND: Floats) -> None:
        excess = max(0, len(surfaces) - self._capacity)
        for surface, vector in zip(surfaces[excess:], vectors_ND[excess:], strict=True):
            full = len(self._rows) == self._capacity
            row = self._rows.popitem(last=False)[1] if full else len(self._rows)
            if row == len(self._vectors):
                self._double()
            self._rows[surface] = row
            self._vectors[row] = vector

    def _double(self) -> None:
        num_rows, dimension = self._vectors.shape
        larger: Floats = np.empty((min(2 * num_rows, self._capacity), dimension), dtype=np.float32)
        larger[:num_rows] = self._vectors
        self._vectors = larger

"""A long job beside requests: while others ask, it works a part of the time and rests in between."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.engine.embedder import Embedder

WORK_SHARE = 0.2
"""Of the time, while others ask: so they keep more than 0.7 of what they would have without the job. When
nobody asks it never rests."""

ASKED_WITHIN_S = 1.0
"""Others ask as long as the last request is no older: clients that wait for each reply leave gaps."""

LONGEST_NAP_S = 0.1
"""After which it is asked whether the job is still wanted."""


class FairShare:
    """The rests of one job. Called from its own thread."""

    def __init__(self, others_ask: Callable[[], bool], is_over: Callable[[], bool]) -> None:
        """is_over: whether the job is not wanted any more: then it does not rest."""
        self.others_ask = others_ask
        self._is_over = is_over
        self._working_since_s = time.monotonic()

    def begin(self) -> None:
        """Count work from now on."""
        self._working_since_s = time.monotonic()

    def rest(self, worked_s: float | None = None) -> None:
        """Rest for the work since the last rest, or `worked_s` of it, if others ask."""
        if worked_s is None:
            worked_s = time.monotonic() - self._working_since_s
        end_s = time.monotonic() + worked_s * (1 - WORK_SHARE) / WORK_SHARE
        while (left_s := end_s - time.monotonic()) > 0 and self.others_ask() and not self._is_over():
            time.sleep(min(left_s, LONGEST_NAP_S))
        self.begin()


def anybody_asks(embedders: list[Embedder]) -> bool:
    """Whether requests came a moment ago, or still wait, for any of the models: they share the CPUs."""
    since_s = time.monotonic() - ASKED_WITHIN_S
    return any(each.asked_s >= since_s or each.queue_depth > 0 for each in embedders)

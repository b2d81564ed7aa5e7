"""A long fit's way to say how far it is, and to be stopped."""

from __future__ import annotations

import math
from collections.abc import Callable


class Cancelled(Exception):
    """The caller asked for the fit to stop; nothing of it is kept."""


class Watch:
    """Progress from 0 to 1 that never goes back, over stages whose number of steps is not known before."""

    def __init__(self, progress: Callable[[float], None], cancelled: Callable[[], bool]) -> None:
        self._progress = progress
        self._cancelled = cancelled
        self._start = 0.0
        self._end = 0.0
        self._expected_steps = 1
        self._steps = 0

    def stage(self, end: float, expected_steps: int) -> None:
        """Begin a stage that reaches to `end`, in about expected_steps steps."""
        self.check()
        self._start, self._end = self._end, end
        self._expected_steps = expected_steps
        self._steps = 0
        self._progress(self._start)

    def check(self) -> None:
        """Raise Cancelled when the caller wants it."""
        if self._cancelled():
            raise Cancelled("the fit was cancelled")

    def step(self) -> None:
        """One step of the stage; the bar slows down when there are more than expected, and never stops."""
        self.check()
        self._steps += 1
        share = 1 - math.exp(-2 * self._steps / self._expected_steps)
        self._progress(self._start + (self._end - self._start) * share)

    def finish(self) -> None:
        self._progress(1.0)

"""How many of a length-sorted row of things fit one run: a run costs its longest times its number, padding
counted."""

from __future__ import annotations

from collections.abc import Sequence


def prefix(lengths: Sequence[int], budget: int) -> int:
    """Return how many of the first `lengths`, which ascend, fit the budget together; the first always
    does."""
    end = 1
    while end < len(lengths) and (end + 1) * lengths[end] <= budget:
        end += 1
    return end


def around(lengths: Sequence[int], index: int, budget: int) -> tuple[int, int]:
    """Return the bounds (start, end) of the run built around lengths[index], which ascend.

    First come those that are shorter, the nearest in length first: they make the run no longer. What is left
    of the budget goes to longer ones.
    """
    start, end = index, index + 1
    while start > 0 and (end - start + 1) * lengths[index] <= budget:
        start -= 1
    while end < len(lengths) and (end - start + 1) * lengths[end] <= budget:
        end += 1
    return start, end

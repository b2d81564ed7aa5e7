"""Which things share a run: properties over all lengths, and examples of the order of preference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.packing import around, prefix

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=40).map(sorted)


def cost(lengths: list[int]) -> int:
    """Padding counted."""
    return len(lengths) * max(lengths)


@given(LENGTHS, st.integers(1, 500))
def test_a_prefix_fits_the_budget_and_nothing_more_would(lengths: list[int], budget: int) -> None:
    end = prefix(lengths, budget)
    assert end == 1 or cost(lengths[:end]) <= budget
    assert end == len(lengths) or cost(lengths[: end + 1]) > budget


@given(LENGTHS, st.integers(1, 500), st.data())
def test_a_run_around_one_holds_it_and_fits(lengths: list[int], budget: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(lengths) - 1))
    start, end = around(lengths, index, budget)
    assert 0 <= start <= index < end <= len(lengths)
    assert end - start == 1 or cost(lengths[start:end]) <= budget
    if end < len(lengths):
        assert cost(lengths[start : end + 1]) > budget


@pytest.mark.parametrize(
    ("index", "budget", "run"),
    [
        (3, 5, [5]),  # alone, and over the budget: it must run all the same
        (3, 10, [3, 5]),
        (3, 15, [2, 3, 5]),
        (3, 20, [1, 2, 3, 5]),
        (3, 40, [1, 2, 3, 5, 8]),  # longer ones only when all shorter ones are in
        (0, 4, [1, 2]),
    ],
)
def test_shorter_ones_come_first(index: int, budget: int, run: list[int]) -> None:
    lengths = [1, 2, 3, 5, 8]
    start, end = around(lengths, index, budget)
    assert lengths[start:end] == run

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.grouping import groups_by_length

LENGTHS = st.lists(st.integers(0, 80), max_size=60)


def groups(lengths: list[int]) -> list[list[int]]:
    return [rows.tolist() for rows in groups_by_length(np.array(lengths, dtype=np.int32))]


def cost(longest: int, size: int) -> float:
    """Of one run: B + 3.5 for up to 4 rows, B + 8 for more, at every step; 4 for the run itself."""
    return longest * (size + (3.5 if size <= 4 else 8.0)) + 4.0


def best_cost(lengths: list[int]) -> float:
    """The least over every way of cutting the sorted lengths."""
    ascending = sorted(lengths)
    cuts = product([False, True], repeat=len(ascending) - 1)
    totals = []
    for cut in cuts:
        bounds = [0, *(i + 1 for i, here in enumerate(cut) if here), len(ascending)]
        totals.append(sum(cost(ascending[end - 1], end - start) for start, end in pairwise(bounds)))
    return min(totals)


@given(LENGTHS)
def test_every_sentence_is_in_one_group(lengths: list[int]) -> None:
    assert sorted(row for rows in groups(lengths) for row in rows) == list(range(len(lengths)))


@given(LENGTHS)
def test_groups_come_in_order_of_length(lengths: list[int]) -> None:
    in_order = [lengths[row] for rows in groups(lengths) for row in rows]
    assert in_order == sorted(lengths)


@given(st.lists(st.integers(1, 80), min_size=1, max_size=9))
def test_no_other_grouping_costs_less(lengths: list[int]) -> None:
    total = sum(cost(max(lengths[row] for row in rows), len(rows)) for rows in groups(lengths))
    assert total == pytest.approx(best_cost(lengths))


@pytest.mark.parametrize("num_sentences", [1, 2, 4, 12, 32, 200])
def test_sentences_of_one_length_run_together(num_sentences: int) -> None:
    assert groups([20] * num_sentences) == [list(range(num_sentences))]


def test_a_long_sentence_does_not_drag_short_ones_along() -> None:
    assert groups([60, 5, 5, 6]) == [[1, 2, 3], [0]]


def test_no_sentences() -> None:
    assert groups([]) == []

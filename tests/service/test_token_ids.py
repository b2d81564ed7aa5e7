"""Token ids are told from text, at any depth and without reading all of them."""

from __future__ import annotations

import pytest

from service.token_ids import are_token_ids


@pytest.mark.parametrize("value", [[1], [1, 2], [[1, 2], [3]], [[[1]]], [1, "a"]])
def test_ids(value: object) -> None:
    assert are_token_ids(value)


@pytest.mark.parametrize("value", ["a", "", [], [[]], ["a"], ["a", 1], [["a"]], [True], [1.5], [None], 1, {}])
def test_others(value: object) -> None:
    assert not are_token_ids(value)

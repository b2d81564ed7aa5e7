"""The estimate behind Retry-After."""

from __future__ import annotations

import pytest

from service.engine.throughput import Throughput


def test_nothing_is_known_before_the_first_batch() -> None:
    assert Throughput().wait_s(10**6) == 1


@pytest.mark.parametrize(("num_tokens", "seconds"), [(0, 1), (10, 1), (11, 2), (50, 5), (10_000, 60)])
def test_whole_seconds_within_bounds(num_tokens: int, seconds: int) -> None:
    throughput = Throughput()
    throughput.observe(20, 2.0)
    assert throughput.wait_s(num_tokens) == seconds


def test_a_change_is_followed() -> None:
    throughput = Throughput()
    throughput.observe(1000, 1.0)
    for _ in range(100):
        throughput.observe(10, 1.0)
    assert throughput.wait_s(100) == 10


def test_a_batch_too_quick_to_time() -> None:
    throughput = Throughput()
    throughput.observe(10, 0.0)
    assert throughput.wait_s(10) == 1

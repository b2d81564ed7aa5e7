"""The token cache against computing every vector anew: the same values, no more kept than its capacity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.backend import Floats
from service.engine.token_cache import TokenCache


def vector(surface: str) -> list[float]:
    return [float(ord(surface)), -float(ord(surface))]


class Network:
    """Computes vectors and remembers for which surfaces it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def __call__(self, surfaces: list[str]) -> Floats:
        self.asked.append(surfaces)
        return np.array([vector(surface) for surface in surfaces], dtype=np.float32)


CALLS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=20)


@given(CALLS, st.integers(0, 6))
def test_every_lookup_is_exact_and_the_size_bounded(calls: list[list[str]], capacity: int) -> None:
    cache, network = TokenCache(capacity, dimension=2), Network()
    for surfaces in calls:
        expected = np.array([vector(surface) for surface in surfaces], dtype=np.float32).reshape(-1, 2)
        np.testing.assert_array_equal(cache.lookup(surfaces, network), expected)
        assert len(cache) <= capacity


def test_only_what_is_not_kept_is_computed() -> None:
    cache, network = TokenCache(4, dimension=2), Network()
    cache.lookup(["a", "b"], network)
    cache.lookup(["b", "c", "a"], network)
    cache.lookup(["c", "a"], network)
    assert network.asked == [["a", "b"], ["c"]]


def test_the_least_recently_used_leaves_first() -> None:
    cache, network = TokenCache(2, dimension=2), Network()
    cache.lookup(["a", "b"], network)
    cache.lookup(["a"], network)
    cache.lookup(["c"], network)  # b leaves
    cache.lookup(["a", "c"], network)
    cache.lookup(["b"], network)
    assert network.asked == [["a", "b"], ["c"], ["b"]]


def test_more_new_surfaces_than_there_is_room_for() -> None:
    cache, network = TokenCache(2, dimension=2), Network()
    np.testing.assert_array_equal(cache.lookup(list("abc"), network), np.array([*map(vector, "abc")]))
    cache.lookup(["b", "c"], network)
    assert network.asked == [["a", "b", "c"]]


@pytest.mark.parametrize(("capacity", "kept"), [(0, 0), (1, 1), (1500, 1500), (10_000_000, 5000)])
def test_any_capacity(capacity: int, kept: int) -> None:
    """A large one takes no memory until it is used: 10 million vectors of 512 would be 20 GB."""
    surfaces = [chr(0x4E00 + i) for i in range(5000)]
    cache, network = TokenCache(capacity, dimension=512), Network()
    expected = np.array([vector(surface) for surface in surfaces], dtype=np.float32)

    def compute(missing: list[str]) -> Floats:
        return np.repeat(network(missing), 256, axis=1)

    for part in (slice(0, 700), slice(700, 5000), slice(0, 5000)):
        found = cache.lookup(surfaces[part], compute)
        np.testing.assert_array_equal(found[:, [0, 511]], expected[part])
    assert len(cache) == kept
    # The last round computes again what had to leave: nothing, when all of it found room.
    assert len(network.asked) == (2 if kept == len(surfaces) else 3)


def test_a_failed_computation_leaves_nothing_behind() -> None:
    cache, network = TokenCache(4, dimension=2), Network()

    def fail(surfaces: list[str]) -> Floats:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.lookup(["a"], fail)
    assert len(cache) == 0
    np.testing.assert_array_equal(cache.lookup(["a"], network), np.array([vector("a")]))


def test_a_result_is_no_view_of_what_is_kept() -> None:
    cache, network = TokenCache(4, dimension=2), Network()
    for _ in range(2):
        cache.lookup(["a"], network)[:] = 0
    np.testing.assert_array_equal(cache.lookup(["a"], network), np.array([vector("a")]))

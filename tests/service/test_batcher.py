"""The real queue and thread, in front of an engine that the test opens and closes by hand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.batcher import Batcher
from service.errors import ServiceError

LONG_S = 60.0
TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Work:
    num_tokens: int
    name: str = ""


class GatedEngine:
    """Answers each item with its length; runs only while its gate is open, and says when it has begun."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Semaphore(0)
        self.batches: list[list[Work]] = []
        self.broken: set[str] = set()

    def __call__(self, batch: Sequence[Work]) -> list[int | Exception]:
        self.batches.append(list(batch))
        self.begun.release()
        assert self.gate.wait(TIMEOUT_S)
        if self.broken & {work.name for work in batch}:
            raise RuntimeError("the engine broke on somebody's text")
        return [ValueError(work.name) if work.name == "bad" else work.num_tokens for work in batch]

    @property
    def lengths(self) -> list[list[int]]:
        return [[work.num_tokens for work in batch] for batch in self.batches]


@pytest.fixture
def engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.gate.set()


def batcher(
    engine: GatedEngine, *, batch_tokens: int = 100, queue_tokens: int = 1000, max_age_s: float = LONG_S
) -> Batcher[Work, int]:
    return Batcher(engine, batch_tokens=batch_tokens, queue_tokens=queue_tokens, max_age_s=max_age_s)


def held(engine: GatedEngine, batcher: Batcher[Work, int]) -> Future[int]:
    """Give the engine one item and wait until it is busy with it, so that whatever comes next must queue."""
    (future,) = batcher.submit([Work(1, "first")])
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    return future


def lengths(*values: int) -> list[Work]:
    return [Work(value) for value in values]


def test_every_future_gets_its_own_result(engine: GatedEngine) -> None:
    engine.gate.set()
    futures = batcher(engine).submit(lengths(5, 3, 8))
    assert [future.result(TIMEOUT_S) for future in futures] == [5, 3, 8]


def test_it_starts_at_once_when_the_engine_is_free(engine: GatedEngine) -> None:
    """One short item is a batch: nothing waits for a batch to fill, or for time to pass."""
    queue = batcher(engine, batch_tokens=10_000)
    held(engine, queue)
    assert engine.lengths == [[1]]
    assert queue.queue_depth == 0


def test_what_waits_together_is_sorted_and_packed_with_its_padding(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=20)
    held(engine, queue)
    futures = queue.submit(lengths(9, 2, 30, 3, 5, 9))
    engine.gate.set()
    wait(futures, TIMEOUT_S)
    # 3 x 5 fit into 20; with a 9 it would be 4 x 9. The 30 is over the budget and runs alone.
    assert engine.lengths == [[1], [2, 3, 5], [9, 9], [30]]


def test_items_of_one_length_keep_their_order(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=8)
    held(engine, queue)
    futures = queue.submit([Work(4, name) for name in "abc"]) + queue.submit([Work(4, "d")])
    engine.gate.set()
    wait(futures, TIMEOUT_S)
    assert [[work.name for work in batch] for batch in engine.batches[1:]] == [["a", "b"], ["c", "d"]]


def test_nothing_starves(engine: GatedEngine) -> None:
    """Past the age bound the next batch is built around the item that has waited longest."""
    queue = batcher(engine, batch_tokens=10, max_age_s=0)
    held(engine, queue)
    futures = [*queue.submit(lengths(9)), *queue.submit(lengths(2, 2)), *queue.submit(lengths(1))]
    engine.gate.set()
    wait(futures, TIMEOUT_S)
    assert engine.lengths == [[1], [9], [1, 2, 2]]


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(1, 100),
    st.sampled_from([0.0, LONG_S]),
)
def test_all_are_answered_within_the_budget(
    requests: list[list[int]], batch_tokens: int, max_age_s: float
) -> None:
    engine = GatedEngine()
    queue = batcher(engine, batch_tokens=batch_tokens, queue_tokens=10_000, max_age_s=max_age_s)
    futures = [future for request in requests for future in queue.submit(lengths(*request))]
    engine.gate.set()
    queue.close()
    assert [future.result(0) for future in futures] == [length for request in requests for length in request]
    for batch in engine.lengths:
        assert len(batch) == 1 or len(batch) * max(batch) <= batch_tokens


def test_an_item_that_is_answered_with_an_error_fails_alone(engine: GatedEngine) -> None:
    engine.gate.set()
    good, bad, other = batcher(engine).submit([Work(2), Work(2, "bad"), Work(3)])
    assert (good.result(TIMEOUT_S), other.result(TIMEOUT_S)) == (2, 3)
    assert isinstance(bad.exception(TIMEOUT_S), ValueError)
    assert engine.lengths == [[2, 2, 3]]


def test_an_item_that_breaks_its_batch_fails_alone(
    engine: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.broken = {"breaker"}
    engine.gate.set()
    with caplog.at_level(logging.ERROR, logger="polyseme"):
        good, bad, other = batcher(engine).submit([Work(2), Work(2, "breaker"), Work(3)])
        assert (good.result(TIMEOUT_S), other.result(TIMEOUT_S)) == (2, 3)
        assert isinstance(bad.exception(TIMEOUT_S), RuntimeError)
    assert engine.lengths == [[2, 2, 3], [2], [2], [3]]
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == [
        "a batch of 3 failed: RuntimeError",
        "a batch of 1 failed: RuntimeError",
    ]
    assert "somebody's text" not in caplog.text


def test_the_thread_outlives_an_engine_that_raises(engine: GatedEngine) -> None:
    engine.broken = {"a"}
    engine.gate.set()
    queue = batcher(engine)
    for _ in range(3):
        (broken,) = queue.submit([Work(1, "a")])
        assert isinstance(broken.exception(TIMEOUT_S), RuntimeError)
    (well,) = queue.submit([Work(7)])
    assert well.result(TIMEOUT_S) == 7
    assert queue.is_alive


def test_an_engine_that_forgets_an_item_fails_its_batch() -> None:
    def forgetful(batch: Sequence[Work]) -> list[int | Exception]:
        return []

    queue: Batcher[Work, int] = Batcher(forgetful, batch_tokens=10, queue_tokens=10, max_age_s=LONG_S)
    (future,) = queue.submit([Work(1)])
    assert isinstance(future.exception(TIMEOUT_S), AssertionError)


def test_the_queue_is_bounded_in_tokens(engine: GatedEngine) -> None:
    queue = batcher(engine, queue_tokens=10)
    running = held(engine, queue)
    waiting = queue.submit(lengths(4, 3))
    assert queue.queue_depth == 7
    with pytest.raises(ServiceError) as caught:
        queue.submit(lengths(2, 2))
    assert caught.value.type.name == "queue_full"
    assert caught.value.message == (
        "expected at most 3 tokens beside the 7 that wait already, got 4; try again in 1 s"
    )
    assert caught.value.headers == {"Retry-After": "1"}
    waiting += queue.submit(lengths(3))
    engine.gate.set()
    assert [future.result(TIMEOUT_S) for future in [running, *waiting]] == [1, 4, 3, 3]
    assert engine.lengths == [[1], [3, 3, 4]]  # nothing of the refused request was queued


def test_what_could_never_fit_is_not_asked_to_try_again(engine: GatedEngine) -> None:
    with pytest.raises(ServiceError) as caught:
        batcher(engine, queue_tokens=10).submit(lengths(6, 5))
    assert caught.value.type.name == "too_many_tokens"
    assert caught.value.message == "expected at most 10 tokens in one request, got 11"


def test_what_was_given_up_is_not_computed(engine: GatedEngine) -> None:
    queue = batcher(engine)
    held(engine, queue)
    kept, dropped = queue.submit([Work(2, "kept"), Work(2, "dropped")])
    assert dropped.cancel()
    engine.gate.set()
    assert kept.result(TIMEOUT_S) == 2
    assert [[work.name for work in batch] for batch in engine.batches] == [["first"], ["kept"]]
    with pytest.raises(CancelledError):
        dropped.result(0)


def test_closing_finishes_what_waits_and_takes_nothing_more(engine: GatedEngine) -> None:
    queue = batcher(engine)
    held(engine, queue)
    futures = queue.submit(lengths(2, 3))
    engine.gate.set()
    queue.close()
    assert [future.result(0) for future in futures] == [2, 3]
    assert not queue.is_alive
    with pytest.raises(ServiceError) as caught:
        queue.submit(lengths(1))
    assert caught.value.type.name == "not_ready"

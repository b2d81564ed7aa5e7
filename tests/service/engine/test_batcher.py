"""The real queue and thread, in front of an engine that the test opens and closes by hand."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.batcher import Batcher
from service.engine.outcomes import Outcome
from service.errors import ServiceError
from service.work import Work
from tests.service.gated_engine import (
    LONG_S,
    TIMEOUT_S,
    GatedEngine,
    Item,
    Notes,
    batcher,
    held,
    items,
)


@pytest.fixture
def engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.gate.set()


def test_every_future_gets_its_own_result(engine: GatedEngine) -> None:
    engine.gate.set()
    sentences = [Item(5), Item(3, longest=1), Item(8, longest=4)]
    futures = batcher(engine).submit(sentences, Work())
    assert [future.result(TIMEOUT_S) for future in futures] == [1, 3, 2]


def test_it_starts_at_once_when_the_engine_is_free(engine: GatedEngine) -> None:
    """One short item is a batch: nothing waits for a batch to fill, or for time to pass."""
    queue = batcher(engine, batch_tokens=10_000)
    held(engine, queue)
    assert engine.lengths == [[1]]
    assert queue.queue_depth == 0


def test_what_waits_together_is_sorted_and_packed_with_its_padding(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=20)
    held(engine, queue)
    queue.submit(items(9, 2, 30, 3, 5, 9), Work())
    engine.gate.set()
    queue.close()
    # 3 x 5 fit into 20; with a 9 it would be 4 x 9. The 30 is over the budget and runs alone.
    assert engine.lengths == [[1], [2, 3, 5], [9, 9], [30]]


def test_items_of_one_length_keep_their_order(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=8)
    held(engine, queue)
    queue.submit([Item(4, name) for name in "abc"], Work())
    queue.submit([Item(4, "d")], Work())
    engine.gate.set()
    queue.close()
    assert engine.names[1:] == [["a", "b"], ["c", "d"]]


def test_nothing_starves(engine: GatedEngine) -> None:
    """Past the age bound the next batch is built around the item that has waited longest."""
    queue = batcher(engine, batch_tokens=10, max_age_s=0)
    held(engine, queue)
    for lengths in ((9,), (2, 2), (1,)):
        queue.submit(items(*lengths), Work())
    engine.gate.set()
    queue.close()
    assert engine.lengths == [[1], [9], [1, 2, 2]]


def test_short_items_pass_between_the_slices_of_a_document(engine: GatedEngine) -> None:
    """Its next slice comes after what arrived during the one before, even with no patience at all."""
    queue = batcher(engine, batch_tokens=10, max_age_s=0)
    (document,) = queue.submit([Item(30, "document", longest=10)], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    queue.submit([Item(6, "a"), Item(5, "b")], Work())
    engine.gate.set()
    queue.close()
    assert engine.names == [["document"], ["b"], ["a"], ["document"], ["document"]]
    assert document.result(0) == 3


def test_a_document_does_not_starve_between_short_items(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=10, max_age_s=0)
    held(engine, queue)
    (document,) = queue.submit([Item(20, "document", longest=10)], Work())
    queue.submit([Item(6, "a")], Work())
    engine.gate.set()
    queue.close()
    assert engine.names == [["first"], ["document"], ["a"], ["document"]]
    assert document.result(0) == 2


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 100),
    st.sampled_from([0.0, LONG_S]),
)
def test_all_are_answered_within_the_budget(
    requests: list[list[tuple[int, int]]], batch_tokens: int, max_age_s: float
) -> None:
    engine = GatedEngine()
    queue = batcher(engine, batch_tokens=batch_tokens, queue_tokens=10_000, max_age_s=max_age_s)
    futures = [
        future
        for request in requests
        for future in queue.submit([Item(length, longest=longest) for length, longest in request], Work())
    ]
    engine.gate.set()
    queue.close()
    num_slices = [-(-length // longest) for request in requests for length, longest in request]
    assert [future.result(0) for future in futures] == num_slices
    assert queue.queue_depth == 0
    for batch in engine.lengths:
        assert len(batch) == 1 or len(batch) * max(batch) <= batch_tokens


def test_an_item_that_is_answered_with_an_error_fails_alone(engine: GatedEngine) -> None:
    engine.gate.set()
    good, bad, other = batcher(engine).submit([Item(2), Item(2, "bad"), Item(3)], Work())
    assert (good.result(TIMEOUT_S), other.result(TIMEOUT_S)) == (1, 1)
    assert isinstance(bad.exception(TIMEOUT_S), ValueError)
    assert engine.lengths == [[2, 2, 3]]


def test_an_item_that_breaks_its_batch_fails_alone(
    engine: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """What was answered before it is not run again; the rest is, in halves."""
    engine.raising = {"breaker"}
    queue = batcher(engine)
    first = held(engine, queue)
    names = ["a", "b", "c", "breaker", "d", "e", "f"]
    with caplog.at_level(logging.ERROR, logger="polyseme"):
        futures = queue.submit([Item(2, name) for name in names], Work())
        engine.gate.set()
        outcomes = [future.exception(TIMEOUT_S) for future in [first, *futures]]
    assert [type(outcome) for outcome in outcomes] == [type(None)] * 4 + [RuntimeError] + [type(None)] * 3
    assert engine.names[1:] == [names, ["breaker", "d"], ["breaker"], ["d"], ["e", "f"]]
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == [
        "a batch of 7 failed: RuntimeError",
        "a batch of 2 failed: RuntimeError",
        "a batch of 1 failed: RuntimeError",
    ]
    assert "somebody's text" not in caplog.text
    assert all(future.result(0) == 1 for future in futures if future.exception(0) is None)


def test_the_thread_outlives_an_engine_that_raises(engine: GatedEngine) -> None:
    engine.raising = {"a"}
    engine.gate.set()
    queue = batcher(engine)
    for _ in range(3):
        (broken,) = queue.submit([Item(1, "a", longest=1)], Work())
        assert isinstance(broken.exception(TIMEOUT_S), RuntimeError)
    (well,) = queue.submit([Item(7)], Work())
    assert well.result(TIMEOUT_S) == 1
    assert queue.is_alive
    assert engine.num_made == 1


def test_a_document_that_fails_midway_is_counted_no_longer(engine: GatedEngine) -> None:
    queue = batcher(engine)
    document = Item(30, longest=10)
    (future,) = queue.submit([document], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    assert queue.queue_depth == 20
    document.name = "bad"
    engine.gate.set()
    assert isinstance(future.exception(TIMEOUT_S), ValueError)
    assert queue.queue_depth == 0


def test_an_engine_that_forgets_an_item_fails_it() -> None:
    def forgetful(batch: Sequence[Item]) -> list[tuple[int, Outcome[int]]]:
        return []

    queue: Batcher[Item, int] = Batcher(
        lambda: forgetful,
        batch_tokens=10,
        queue_tokens=10,
        max_age_s=LONG_S,
        stall_s=LONG_S,
        hang_s=LONG_S,
    )
    (future,) = queue.submit([Item(1)], Work())
    assert isinstance(future.exception(TIMEOUT_S), AssertionError)


def test_an_engine_that_raises_after_its_last_answer_fails_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def late(batch: Sequence[Item]) -> Iterator[tuple[int, Outcome[int]]]:
        yield from ((i, 1) for i in range(len(batch)))
        raise RuntimeError

    queue: Batcher[Item, int] = Batcher(
        lambda: late, batch_tokens=10, queue_tokens=10, max_age_s=LONG_S, stall_s=LONG_S, hang_s=LONG_S
    )
    for lengths in ((1,), (1, 2)):
        assert [future.result(TIMEOUT_S) for future in queue.submit(items(*lengths), Work())] == [1] * len(
            lengths
        )
    queue.close()
    assert {record.getMessage().partition(":")[0] for record in caplog.records} <= {
        "a batch of 1 failed",
        "a batch of 2 failed",
    }


def test_the_queue_is_bounded_in_tokens(engine: GatedEngine) -> None:
    queue = batcher(engine, queue_tokens=10)
    running = held(engine, queue)
    waiting = queue.submit(items(4, 3), Work())
    assert queue.queue_depth == 7
    with pytest.raises(ServiceError) as caught:
        queue.submit(items(2, 2), Work())
    assert caught.value.type.name == "queue_full"
    assert caught.value.message == (
        "expected at most 3 tokens beside the 7 that wait already, got 4; try again in 1 s"
    )
    assert caught.value.headers == {"Retry-After": "1"}
    waiting += queue.submit(items(3), Work())
    engine.gate.set()
    assert [future.result(TIMEOUT_S) for future in [running, *waiting]] == [1, 1, 1, 1]
    assert engine.lengths == [[1], [3, 3, 4]]  # nothing of the refused request was queued


def test_the_slices_that_follow_the_one_that_runs_are_waiting(engine: GatedEngine) -> None:
    queue = batcher(engine, queue_tokens=30)
    queue.submit([Item(25, longest=10)], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    assert queue.queue_depth == 15
    with pytest.raises(ServiceError) as caught:
        queue.submit(items(16), Work())
    assert caught.value.type.name == "queue_full"


def test_what_could_never_fit_is_not_asked_to_try_again(engine: GatedEngine) -> None:
    with pytest.raises(ServiceError) as caught:
        batcher(engine, queue_tokens=10).submit(items(6, 5), Work())
    assert caught.value.type.name == "too_many_tokens"
    assert caught.value.message == "expected at most 10 tokens in one request, got 11"


def test_what_was_given_up_is_not_computed(engine: GatedEngine) -> None:
    notes = Notes()
    queue = batcher(engine, observer=notes)
    held(engine, queue)
    kept, dropped = queue.submit([Item(2, "kept"), Item(2, "dropped")], Work())
    abandoned = Work()
    queue.submit([Item(3, "a"), Item(3, "b")], abandoned)
    assert dropped.cancel()
    abandoned.cancel()
    engine.gate.set()
    assert kept.result(TIMEOUT_S) == 1
    queue.close()
    assert engine.names == [["first"], ["kept"]]
    assert notes.dropped_causes == ["cancelled"] * 3
    assert notes.num_queued == 2
    assert queue.queue_depth == 0
    with pytest.raises(CancelledError):
        dropped.result(0)


def test_what_is_given_up_while_it_runs_has_no_further_slice(engine: GatedEngine) -> None:
    notes = Notes()
    queue = batcher(engine, observer=notes)
    (document,) = queue.submit([Item(30, "document", longest=10)], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    assert document.cancel()
    engine.gate.set()
    queue.close()
    assert engine.names == [["document"]]
    assert notes.dropped_causes == ["cancelled"]
    assert queue.queue_depth == 0


def test_what_is_given_up_during_its_last_slice_is_forgotten(engine: GatedEngine) -> None:
    queue = batcher(engine)
    future = held(engine, queue)
    assert future.cancel()
    engine.gate.set()
    (other,) = queue.submit(items(2), Work())
    assert other.result(TIMEOUT_S) == 1
    assert future.cancelled()


def test_what_comes_too_late_is_not_computed(engine: GatedEngine) -> None:
    notes = Notes()
    queue = batcher(engine, observer=notes)
    held(engine, queue)
    (late,) = queue.submit([Item(2, "late")], Work(deadline_s=time.monotonic()))
    (in_time,) = queue.submit([Item(2, "in time")], Work(deadline_s=time.monotonic() + LONG_S))
    engine.gate.set()
    error = late.exception(TIMEOUT_S)
    assert isinstance(error, ServiceError)
    assert (error.type.name, error.type.status) == ("deadline_exceeded", 504)
    assert in_time.result(TIMEOUT_S) == 1
    assert engine.names == [["first"], ["in time"]]
    assert notes.dropped_causes == ["deadline"]


def test_a_deadline_between_two_slices(engine: GatedEngine) -> None:
    work = Work()
    queue = batcher(engine)
    (document,) = queue.submit([Item(30, "document", longest=10)], work)
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    work.deadline_s = time.monotonic()
    engine.gate.set()
    assert isinstance(document.exception(TIMEOUT_S), ServiceError)
    assert engine.names == [["document"]]
    assert queue.queue_depth == 0


def test_a_request_learns_where_its_slowest_sentence_spent_its_time(engine: GatedEngine) -> None:
    queue = batcher(engine, batch_tokens=1)
    work = Work()
    held(engine, queue)
    before_s = time.monotonic()
    futures = queue.submit([Item(1), Item(2, longest=1)], work)
    engine.gate.set()
    assert [future.result(TIMEOUT_S) for future in futures] == [1, 2]
    took_s = time.monotonic() - before_s
    assert 0 < work.timings.queue_s < took_s
    assert 0 < work.timings.compute_s < took_s
    assert work.timings.queue_s + work.timings.compute_s <= took_s


def test_closing_finishes_what_waits_and_takes_nothing_more(engine: GatedEngine) -> None:
    queue = batcher(engine)
    held(engine, queue)
    futures = queue.submit([Item(2), Item(3, longest=1)], Work())
    engine.gate.set()
    queue.close()
    assert [future.result(0) for future in futures] == [1, 3]
    assert not queue.is_alive
    with pytest.raises(ServiceError) as caught:
        queue.submit(items(1), Work())
    assert caught.value.type.name == "not_ready"
    queue.close()  # again: nothing happens

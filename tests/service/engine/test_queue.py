"""What waits, without threads: what is counted, packed, put back and taken out."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from service.engine.queue import OLDEST_BATCHES, Entry, TokenQueue
from service.work import Work
from tests.service.gated_engine import LONG_S, Item

Waiting = TokenQueue[Item, int]


def entry(num_tokens: int, longest: int = 10_000, age_s: float = 0) -> Entry[Item, int]:
    return Entry(Item(num_tokens, longest=longest), Work(), time.monotonic() - age_s)


def run_slice(item: Item) -> None:
    item.num_tokens -= item.next_tokens


def test_all_that_remains_is_counted_and_the_next_slice_is_packed() -> None:
    queue = Waiting(batch_tokens=20, max_age_s=LONG_S)
    short, document = entry(9), entry(100, longest=10)
    queue.add([document, short])
    assert queue.depth == 109
    assert queue.take() == [short, document]
    assert (queue.depth, len(queue)) == (90, 0)
    run_slice(document.item)
    queue.put_back(document)
    assert (queue.depth, len(queue)) == (90, 1)


def test_what_is_put_back_is_as_old_as_what_comes_now() -> None:
    queue = Waiting(batch_tokens=1, max_age_s=1)
    document, other = entry(100, longest=10, age_s=50), entry(50, age_s=2)
    queue.add([document])
    assert queue.take() == [document]
    run_slice(document.item)
    queue.add([other])
    queue.put_back(document)
    assert queue.take() == [other]  # longer, but the only one past its age


def test_what_came_first_is_finished_before_all_is_begun() -> None:
    queue = Waiting(batch_tokens=40, max_age_s=1)
    requests = [[entry(length, age_s=100 - i) for length in (10, 20, 30, 40)] for i in range(50)]
    for request in requests:
        queue.add(request)
    taken: list[Entry[Item, int]] = []
    num_unfinished = []
    while queue:
        taken += queue.take()
        gone = set(taken)
        begun = [request for request in requests if gone.intersection(request)]
        num_unfinished.append(sum(not gone.issuperset(request) for request in begun))
    assert max(num_unfinished) <= OLDEST_BATCHES
    assert len(taken) == 200


def test_what_is_removed_counts_no_longer() -> None:
    queue = Waiting(batch_tokens=20, max_age_s=LONG_S)
    entries = [entry(3), entry(4), entry(5)]
    queue.add(entries)
    assert queue.remove(lambda each: each.item.num_tokens != 4) == [entries[0], entries[2]]
    assert (queue.depth, len(queue)) == (4, 1)
    assert queue.remove(lambda each: False) == []


def test_what_was_taken_and_fails_counts_no_longer() -> None:
    queue = Waiting(batch_tokens=20, max_age_s=LONG_S)
    document = entry(100, longest=10)
    queue.add([document])
    queue.take()
    for _ in range(2):  # once is enough
        queue.release(document)
        assert queue.depth == 0


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 30)), min_size=1), st.integers(1, 100))
def test_everything_leaves_in_the_end_and_nothing_is_counted_then(
    lengths: list[tuple[int, int]], batch_tokens: int
) -> None:
    queue = Waiting(batch_tokens, max_age_s=LONG_S)
    queue.add([entry(length, longest) for length, longest in lengths])
    num_runs = 0
    while queue:
        assert queue.depth == sum(each.item.num_tokens for each in queue._waiting)
        for each in queue.take():
            run_slice(each.item)
            num_runs += 1
            if each.item.num_tokens:
                queue.put_back(each)
    assert queue.depth == 0
    assert num_runs == sum(-(-length // longest) for length, longest in lengths)

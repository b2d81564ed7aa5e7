"""Engines that die or hang: their thread is replaced, only what they held fails, nothing waits for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import pytest

from service.engine.batcher import MAX_GIVEN_UP, Batcher
from service.engine.outcomes import Outcome
from service.errors import ServiceError
from service.work import Work
from tests.service.conftest import wait_until
from tests.service.gated_engine import LONG_S, TIMEOUT_S, GatedEngine, Item, Notes, batcher, held, items

SOON_S = 0.05


@pytest.fixture
def engine() -> Iterator[GatedEngine]:
    engine = GatedEngine()
    yield engine
    engine.gate.set()


def is_lost(future: Future[int]) -> bool:
    error = future.exception(TIMEOUT_S)
    return isinstance(error, ServiceError) and error.type.name == "engine_failed"


class HangingEngines:
    """The first engines hang in their first run, until they are told to go on; the others are well."""

    def __init__(self, num_hanging: int) -> None:
        self.num_hanging = num_hanging
        self.gates = [threading.Event() for _ in range(num_hanging)]
        self.ended = threading.Semaphore(0)
        self.names: list[list[str]] = []
        self.num_made = 0

    def make(self) -> HangingEngine:
        self.num_made += 1
        gate = self.gates[self.num_made - 1] if self.num_made <= self.num_hanging else None
        return HangingEngine(self, gate)


class HangingEngine:
    def __init__(self, engines: HangingEngines, gate: threading.Event | None) -> None:
        self.engines = engines
        self.gate = gate

    def __call__(self, batch: Sequence[Item]) -> Iterator[tuple[int, Outcome[int]]]:
        self.engines.names.append([item.name for item in batch])
        try:
            if self.gate is not None:
                assert self.gate.wait(TIMEOUT_S)
            for i in range(len(batch)):
                yield i, 1
        finally:
            self.engines.ended.release()


def hanging(engines: HangingEngines, notes: Notes) -> Batcher[Item, int]:
    return Batcher(
        engines.make,
        batch_tokens=4,
        queue_tokens=1000,
        max_age_s=LONG_S,
        stall_s=SOON_S,
        hang_s=2 * SOON_S,
        observer=notes,
    )


def test_a_thread_that_dies_takes_only_its_batch_along(
    engine: GatedEngine, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notes()
    engine.ending = {"killer"}
    queue = batcher(engine, batch_tokens=6, observer=notes)
    held(engine, queue)
    before, killer, beside = queue.submit([Item(2, "a"), Item(2, "killer"), Item(2, "b")], Work())
    (waiting,) = queue.submit([Item(7, "c")], Work())
    with caplog.at_level(logging.ERROR, logger="polyseme"):
        engine.gate.set()
        assert before.result(TIMEOUT_S) == 1  # it was answered before
        assert is_lost(killer)
        assert is_lost(beside)
    assert waiting.result(TIMEOUT_S) == 1
    assert queue.is_alive
    assert notes.restart_causes == ["died"]
    assert engine.num_made == 2
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("the engine's thread ended: SystemExit at gated_engine.py:")
    assert messages[1:] == ["the engine's thread died with a batch of 2"]


def test_a_document_that_is_lost_is_counted_no_longer(engine: GatedEngine) -> None:
    engine.ending = {"killer"}
    queue = batcher(engine)
    (killer,) = queue.submit([Item(30, "killer", longest=10)], Work())
    engine.gate.set()
    assert is_lost(killer)
    assert queue.queue_depth == 0


def test_an_engine_that_stalls_is_not_alive_until_it_gets_on(engine: GatedEngine) -> None:
    queue = batcher(engine, stall_s=SOON_S)
    assert queue.is_alive
    future = held(engine, queue)
    wait_until(lambda: not queue.is_alive)
    engine.gate.set()
    assert future.result(TIMEOUT_S) == 1
    wait_until(lambda: queue.is_alive)


def test_every_answer_is_a_sign_of_life() -> None:
    """A batch may take long as long as it gets on."""
    gates = [threading.Event() for _ in range(3)]

    def slow(batch: Sequence[Item]) -> Iterator[tuple[int, Outcome[int]]]:
        for i, gate in enumerate(gates):
            assert gate.wait(TIMEOUT_S)
            yield i, 1

    queue: Batcher[Item, int] = Batcher(
        lambda: slow, batch_tokens=100, queue_tokens=100, max_age_s=LONG_S, stall_s=SOON_S, hang_s=LONG_S
    )
    futures = queue.submit(items(1, 1, 1), Work())
    for gate, future in zip(gates, futures, strict=True):
        wait_until(lambda: not queue.is_alive)
        gate.set()
        assert future.result(TIMEOUT_S) == 1
        wait_until(lambda: queue.is_alive)


def test_a_thread_that_hangs_is_replaced_and_touches_nothing_when_it_wakes() -> None:
    notes, engines = Notes(), HangingEngines(1)
    queue = hanging(engines, notes)
    hung, beside = queue.submit([Item(2, "a"), Item(2, "b")], Work())
    (waiting,) = queue.submit([Item(3, "c")], Work())
    assert is_lost(hung)
    assert is_lost(beside)
    assert waiting.result(TIMEOUT_S) == 1
    assert queue.is_alive
    assert notes.restart_causes == ["hung"]

    engines.gates[0].set()
    assert engines.ended.acquire(timeout=TIMEOUT_S)
    assert engines.ended.acquire(timeout=TIMEOUT_S)
    (later,) = queue.submit([Item(3, "d")], Work())
    assert later.result(TIMEOUT_S) == 1
    assert engines.names == [["a", "b"], ["c"], ["d"]]
    queue.close()
    assert queue.queue_depth == 0
    assert isinstance(hung.exception(0), ServiceError)


def test_a_document_is_not_queued_again_by_a_thread_that_was_given_up(engine: GatedEngine) -> None:
    queue = batcher(engine, hang_s=SOON_S)
    (document,) = queue.submit([Item(20, "document", longest=10)], Work())
    assert is_lost(document)
    engine.gate.set()
    (other,) = queue.submit([Item(5, "other")], Work())
    assert other.result(TIMEOUT_S) == 1
    queue.close()
    assert engine.names == [["document"], ["other"]]
    assert queue.queue_depth == 0


def test_when_too_many_hang_it_says_so_and_recovers_with_the_first_that_ends() -> None:
    notes, engines = Notes(), HangingEngines(MAX_GIVEN_UP)
    queue = hanging(engines, notes)
    for _ in range(MAX_GIVEN_UP):
        assert is_lost(queue.submit(items(3), Work())[0])
    wait_until(lambda: not queue.is_alive)
    with pytest.raises(ServiceError) as caught:
        queue.submit(items(3), Work())
    assert (caught.value.type.name, caught.value.message) == ("not_ready", "the server has lost its engine")
    engines.gates[0].set()
    wait_until(lambda: queue.is_alive)
    (future,) = queue.submit(items(3), Work())
    assert future.result(TIMEOUT_S) == 1
    assert notes.restart_causes == ["hung"] * MAX_GIVEN_UP
    for gate in engines.gates:
        gate.set()
    queue.close()


def test_a_new_engine_that_cannot_be_made_fails_batches_not_threads(engine: GatedEngine) -> None:
    made: list[GatedEngine] = []

    def make() -> GatedEngine:
        if len(made) == 1:
            made.append(engine)
            raise RuntimeError("no memory for another engine")
        made.append(engine)
        return engine

    engine.ending = {"killer"}
    engine.gate.set()
    queue: Batcher[Item, int] = Batcher(
        make, batch_tokens=10, queue_tokens=10, max_age_s=LONG_S, stall_s=LONG_S, hang_s=LONG_S
    )
    assert is_lost(queue.submit([Item(1, "killer")], Work())[0])
    wait_until(lambda: queue.is_alive)
    assert isinstance(queue.submit(items(1), Work())[0].exception(TIMEOUT_S), RuntimeError)
    assert queue.submit(items(1), Work())[0].result(TIMEOUT_S) == 1


def test_what_the_first_engine_raises_is_raised() -> None:
    def make() -> GatedEngine:
        raise RuntimeError("no engine at all")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="no engine at all"):
        Batcher(make, batch_tokens=1, queue_tokens=1, max_age_s=1, stall_s=1, hang_s=1)
    assert threading.active_count() == before


def test_closing_while_the_engine_hangs_fails_all_that_waits() -> None:
    notes, engines = Notes(), HangingEngines(1)
    queue = hanging(engines, notes)
    futures = [*queue.submit(items(3), Work()), *queue.submit(items(4, 4), Work())]
    started_s = time.monotonic()
    queue.close()
    assert time.monotonic() - started_s < TIMEOUT_S
    assert all(is_lost(future) for future in futures)
    assert engines.num_made == 1
    engines.gates[0].set()


def test_closing_while_the_thread_dies_fails_all_that_waits(engine: GatedEngine) -> None:
    engine.ending = {"killer"}
    queue = batcher(engine, batch_tokens=2)
    (killer,) = queue.submit([Item(2, "killer")], Work())
    assert engine.begun.acquire(timeout=TIMEOUT_S)
    (waiting,) = queue.submit([Item(2)], Work())
    closing = threading.Thread(target=queue.close)
    closing.start()
    wait_until(lambda: not queue.is_alive)
    engine.gate.set()
    closing.join(TIMEOUT_S)
    assert not closing.is_alive()
    assert is_lost(killer)
    assert is_lost(waiting)


def test_an_idle_batcher_computes_nothing(engine: GatedEngine) -> None:
    """No busy loop: two threads wait."""
    queue = batcher(engine, hang_s=10)
    before_s = time.process_time()
    threading.Event().wait(0.3)
    assert time.process_time() - before_s < 0.1
    queue.close()

"""A fit's right to its name, on real databases: one holder, whom others see and can cancel."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import update

from service.task_store.database import Database
from service.task_store.records import LEASE_S, Fit, FitOver, FitRunning, FitState, StoreUnavailable
from service.task_store.store import TaskStore
from service.task_store.tables import fits
from service.task_store.target import StoreTarget, postgresql
from service.tasks.fit_lease import HEARTBEAT_S, FitLease
from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until
from tests.service.postgresql_server import PostgreSQLServer
from tests.service.store_processes import (
    another_process,
    fit_until_cancelled,
    heard,
    kill,
    new_task,
    stop_before_commit,
)

OLD = '{"old": 1}'
NEW = '{"new": 1}'


def let_time_pass(target: StoreTarget, seconds: float) -> None:
    """Make every heartbeat so much older."""
    database = Database(target)
    with database.transaction(writes=True) as connection:
        connection.execute(update(fits).values(heartbeat_at=fits.c.heartbeat_at - seconds))
    database.close()


def fit_of(store: TaskStore, name: str = "배") -> Fit:
    fit = store.fit(name)
    assert fit is not None
    return fit


def document_of(store: TaskStore, name: str = "배") -> str:
    task = store.get(name)
    assert task is not None
    return task.document


def test_a_fit_from_its_beginning_to_its_task(store: TaskStore) -> None:
    with FitLease(store, "배", num_examples=40) as lease:
        begun = fit_of(store)
        assert (begun.id, begun.state, begun.progress, begun.num_examples) == (
            lease.id, FitState.queued, 0.0, 40,
        )  # fmt: skip
        lease.start()
        lease.report(0.25, "fitting")
        wait_until(lambda: fit_of(store).progress == 0.25)
        assert (fit_of(store).state, fit_of(store).message) == (FitState.running, "fitting")
        assert store.get("배") is None
        lease.finish(new_task(document=NEW))
    done = fit_of(store)
    assert (done.state, done.progress, done.message, done.cancel_requested) == (FitState.done, 1.0, "", False)
    assert done.ended_at is not None
    assert done.ended_at >= done.started_at == begun.started_at
    assert document_of(store) == NEW


def test_a_name_has_one_fit_at_a_time(store: TaskStore) -> None:
    with FitLease(store, "배", num_examples=4) as lease:
        with pytest.raises(FitRunning, match="a fit of '\\\\ubc30' is running") as caught:
            FitLease(store, "배", num_examples=8)
        assert caught.value.name == "배"
        with FitLease(store, "눈", num_examples=4) as other:
            other.finish(new_task("눈"))
        assert fit_of(store).id == lease.id
        lease.fail("expected 2 labels, got 1")
    assert (fit_of(store).state, fit_of(store).message) == (FitState.failed, "expected 2 labels, got 1")
    with FitLease(store, "배", num_examples=8) as lease:
        assert (fit_of(store).id, fit_of(store).state, fit_of(store).ended_at) == (
            lease.id, FitState.queued, None,
        )  # fmt: skip
        lease.finish(new_task())


def test_many_threads_want_one_name(store: TaskStore) -> None:
    store.summaries()
    leases: list[FitLease] = []
    refused: list[str] = []
    start = threading.Barrier(8)

    def begin() -> None:
        start.wait()
        try:
            leases.append(FitLease(store, "배", num_examples=4))
        except FitRunning as error:
            refused.append(error.name)

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (lease,) = leases
    assert refused == ["배"] * 7
    lease.cancel()


def test_another_process_runs_it_and_this_one_cancels_it(store: TaskStore, target: StoreTarget) -> None:
    store.put(new_task(document=OLD))
    with another_process(fit_until_cancelled, target, new_task(document=NEW)) as (_, pipe):
        id = heard(pipe)
        with pytest.raises(FitRunning):
            FitLease(store, "배", num_examples=4)
        assert fit_of(store).id == id
        assert store.request_cancel("배")
        assert fit_of(store).cancel_requested
        assert heard(pipe) is True  # its finish was refused: cancelled
    assert fit_of(store).state == FitState.cancelled
    assert document_of(store) == OLD
    assert not store.request_cancel("배")


def test_a_cancelled_fit_cannot_change_the_task_from_that_moment(store: TaskStore) -> None:
    store.put(new_task(document=OLD))
    with FitLease(store, "배", num_examples=4) as lease:
        assert store.request_cancel("배")
        with pytest.raises(FitOver, match="was cancelled") as caught:
            lease.finish(new_task(document=NEW))
    assert caught.value.cancelled
    assert fit_of(store).state == FitState.cancelled
    assert document_of(store) == OLD


def test_a_killed_fit_frees_its_name_after_its_time(store: TaskStore, target: StoreTarget) -> None:
    store.put(new_task(document=OLD))
    with another_process(fit_until_cancelled, target, new_task(document=NEW)) as (process, pipe):
        heard(pipe)
        kill(process)
    assert fit_of(store).state.is_live
    with pytest.raises(FitRunning):
        FitLease(store, "배", num_examples=4)
    let_time_pass(target, LEASE_S)
    assert (fit_of(store).state, fit_of(store).message) == (
        FitState.failed, "the server that ran it has ended",
    )  # fmt: skip
    assert not store.request_cancel("배")
    assert document_of(store) == OLD
    with FitLease(store, "배", num_examples=4) as lease:
        lease.finish(new_task(document=NEW))
    assert document_of(store) == NEW


@pytest.mark.slow
def test_a_killed_fit_frees_its_name_after_the_stated_seconds(store: TaskStore, target: StoreTarget) -> None:
    with another_process(fit_until_cancelled, target, new_task()) as (process, pipe):
        heard(pipe)
        kill(process)
    killed = time.monotonic()
    wait_until(lambda: not fit_of(store).state.is_live)
    assert time.monotonic() - killed > LEASE_S - HEARTBEAT_S - 1
    FitLease(store, "배", num_examples=4).cancel()


def test_a_kill_between_the_task_and_the_end_of_its_fit(store: TaskStore, target: StoreTarget) -> None:
    store.put(new_task(document=OLD))
    lease = FitLease(store, "배", num_examples=4)
    with another_process(stop_before_commit, target, new_task(document=NEW), lease.id) as (process, pipe):
        assert heard(pipe) == "written"
        kill(process)
    assert fit_of(store).state.is_live
    assert document_of(store) == OLD
    lease.finish(new_task(document=NEW))
    assert document_of(store) == NEW


def test_a_fit_that_was_taken_over_changes_nothing(store: TaskStore, target: StoreTarget) -> None:
    store.put(new_task(document=OLD))
    with FitLease(store, "배", num_examples=4) as first:
        let_time_pass(target, LEASE_S + HEARTBEAT_S)
        second = FitLease(store, "배", num_examples=8)
        wait_until(first.is_cancelled)
        with pytest.raises(FitOver, match="was taken over") as caught:
            first.finish(new_task(document=NEW))
        assert not caught.value.cancelled
    assert (fit_of(store).id, fit_of(store).state) == (second.id, FitState.queued)
    assert document_of(store) == OLD
    second.cancel()


def test_finishing_twice_is_finishing_once(store: TaskStore) -> None:
    """As after a lost connection, when it is not known whether the first time has happened."""
    with FitLease(store, "배", num_examples=4) as lease:
        lease.finish(new_task(document=NEW))
    version = store.version("배")
    store.finish_fit(lease.id, new_task(document=NEW))
    assert store.version("배") == version


def test_a_block_left_without_an_end_has_failed(store: TaskStore) -> None:
    with pytest.raises(ZeroDivisionError), FitLease(store, "배", num_examples=4):
        raise ZeroDivisionError
    assert (fit_of(store).state, fit_of(store).message) == (
        FitState.failed, "the server made a mistake; its log says where",
    )  # fmt: skip
    FitLease(store, "배", num_examples=4).cancel()


def test_deleting_a_task_forgets_its_fit_but_not_a_live_one(store: TaskStore) -> None:
    with FitLease(store, "배", num_examples=4) as lease:
        store.put(new_task())
        assert store.delete("배")
        assert fit_of(store).id == lease.id
        lease.finish(new_task())
    assert store.delete("배")
    assert store.fit("배") is None


def test_a_fit_outlives_a_restart_of_the_database(postgresql_server: PostgreSQLServer) -> None:
    target = postgresql(postgresql_server.new_url())
    with closing(TaskStore(target)) as store, FitLease(store, "배", num_examples=4) as lease:
        postgresql_server.stop()
        try:
            with pytest.raises(StoreUnavailable):
                store.summaries()
            finishing = threading.Thread(target=lease.finish, args=[new_task(document=NEW)])
            finishing.start()
            finishing.join(HEARTBEAT_S + 0.5)
            assert finishing.is_alive()
        finally:
            postgresql_server.start()
        finishing.join(PATIENCE_S)
        assert not finishing.is_alive()
        assert (fit_of(store).state, document_of(store)) == (FitState.done, NEW)

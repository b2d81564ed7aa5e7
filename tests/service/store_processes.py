"""What other processes do with a task store while a test looks on."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from multiprocessing.synchronize import Barrier
from typing import Any

from service.task_store.records import FitOver, FitRunning, NewTask, StoreUnavailable
from service.task_store.store import AWAY_S, TaskStore
from service.task_store.target import SQLiteFile, StoreTarget
from service.tasks.fit_lease import FitLease
from tests.patience import PATIENCE_S

SPAWN = multiprocessing.get_context("spawn")


def new_task(name: str = "배", document: str = '{"a": "배"}', **changes: str) -> NewTask:
    fields = {"kind": "sense", "model": "enko", "model_sha256": "0" * 64, "summary": '{"b": 1}'}
    return NewTask(name=name, document=document, **{**fields, **changes})


@contextmanager
def another_process(
    job: Callable[..., None], *arguments: Any
) -> Iterator[tuple[SpawnProcess, Connection[Any, Any]]]:
    """Run job(its end of a pipe, *arguments); kill it at the end if it has not ended."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=job, args=(there, *arguments))
    process.start()
    there.close()
    try:
        yield process, here
    finally:
        process.kill()
        process.join()
        here.close()


def heard(pipe: Connection[Any, Any]) -> Any:
    """Return what the other process says next."""
    assert pipe.poll(PATIENCE_S), "the other process says nothing"
    return pipe.recv()


def kill(process: SpawnProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def put_together(pipe: Connection[Any, Any], target: StoreTarget, all_here: Barrier, name: str) -> None:
    """Be the first to use the store, with others; say what went wrong, or None."""
    store = TaskStore(target)
    all_here.wait(PATIENCE_S)
    try:
        store.put(new_task(name))
    except StoreUnavailable as error:
        pipe.send(str(error))
    else:
        pipe.send(None)
    store.close()


def put_when_told(pipe: Connection[Any, Any], target: StoreTarget) -> None:
    """Put each task that comes, and say so."""
    store = TaskStore(target)
    store.summaries()
    pipe.send("ready")
    while (task := pipe.recv()) is not None:
        store.put(task)
        pipe.send("put")
    store.close()


def put_for_ever(pipe: Connection[Any, Any], target: StoreTarget, name: str, letters: str) -> None:
    """Put documents of one letter each, in turn."""
    store = TaskStore(target)
    count = 0
    while True:
        store.put(new_task(name, letters[count % len(letters)] * 200_000))
        count += 1
        pipe.send(count)


def stop_before_commit(pipe: Connection[Any, Any], target: StoreTarget, task: NewTask, id: str) -> None:
    """Put the task, as the end of a fit if there is its id, and stand still before that is committed."""
    from service.task_store.database import Database

    database = Database(target)
    database.prepare()
    with database.statements(writes=True) as statements:
        if id:
            statements.finish_fit(id, task)
        else:
            statements.put_task(task)
        pipe.send("written")
        pipe.recv()


def fit_until_cancelled(pipe: Connection[Any, Any], target: StoreTarget, task: NewTask) -> None:
    """Begin a fit and say its id, or that another runs; go on until it is cancelled, and try to finish."""
    store = TaskStore(target)
    try:
        lease = FitLease(store, task.name, num_examples=4)
    except FitRunning:
        pipe.send("running")
        return
    with lease:
        lease.start()
        pipe.send(lease.id)
        while not lease.is_cancelled():
            if pipe.poll(0.01):
                pipe.recv()
        try:
            lease.finish(task)
        except FitOver as error:
            pipe.send(error.cancelled)
        else:
            pipe.send("finished")
    store.close()


def read_a_locked_folder(pipe: Connection[Any, Any], target: SQLiteFile) -> None:
    """Say how reading goes for one who may not look into the folder, and then for one who may."""
    store = TaskStore(target)
    store.put(new_task())
    store.close()
    store = TaskStore(target)
    is_root = os.geteuid() == 0  # who may look everywhere
    target.path.parent.chmod(0)
    if is_root:
        os.seteuid(65534)
    try:
        store.summaries()
    except StoreUnavailable as error:
        pipe.send(str(error))
    if is_root:
        os.seteuid(0)
    target.path.parent.chmod(0o700)
    time.sleep(AWAY_S)
    pipe.send([task.name for task in store.summaries()])
    store.close()


def put_on_a_full_disk(pipe: Connection[Any, Any], target: SQLiteFile) -> None:
    """Say how putting a large task goes when files cannot grow, reading then, and putting when they can."""
    store = TaskStore(target)
    store.put(new_task("small"))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, most))
    try:
        store.put(new_task("large", "x" * 1_000_000))
    except StoreUnavailable as error:
        pipe.send(str(error))
    pipe.send([task.name for task in store.summaries()])
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    store.put(new_task("large", "x" * 1_000_000))
    pipe.send([task.name for task in store.summaries()])
    store.close()

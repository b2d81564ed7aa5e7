"""The task cache: what it costs, how old it may be, how much it keeps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.task_store.records import StoredTask, StoreUnavailable
from service.task_store.store import AWAY_S, TaskStore
from service.task_store.target import SQLiteFile, StoreTarget
from service.tasks import cache as cache_module
from service.tasks.cache import MAX_AGE_S, TaskCache
from tests.service.conftest import wait_until
from tests.service.store_processes import another_process, heard, new_task, put_when_told


class Parser:
    """Makes a list of a document, and remembers for which it was asked."""

    def __init__(self) -> None:
        self.parsed: list[str] = []

    def __call__(self, stored: StoredTask) -> list[str]:
        self.parsed.append(stored.document)
        return [stored.name, stored.document]


class Clock:
    """A time that passes only when a test lets it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def age(self) -> None:
        """Let all that is kept become too old."""
        self.now_s += MAX_AGE_S + 0.01


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cache_module, "time", clock)
    return clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.sqlite"


@pytest.fixture
def file_store(path: Path) -> Iterator[TaskStore]:
    store = TaskStore(SQLiteFile(path))
    yield store
    store.close()


def test_a_task_is_read_and_parsed_once_for_each_version(file_store: TaskStore, clock: Clock) -> None:
    parser = Parser()
    cache = TaskCache(file_store, parser)
    assert cache.get("t") is None
    file_store.put(new_task("t", "1"))
    first = cache.get("t")
    assert first == ["t", "1"]
    assert cache.get("t") is first
    clock.age()
    assert cache.fresh("t") is None
    assert cache.get("t") is first  # the store was asked, and has the same version
    assert cache.fresh("t") is first
    file_store.put(new_task("t", "2"))
    assert cache.get("t") is first
    clock.age()
    assert cache.get("t") == ["t", "2"]
    assert parser.parsed == ["1", "2"]


def test_what_this_process_changes_it_sees_at_once(file_store: TaskStore) -> None:
    cache = TaskCache(file_store, Parser())
    file_store.put(new_task("t", "1"))
    assert cache.get("t") == ["t", "1"]
    file_store.put(new_task("t", "2"))
    cache.forget("t")
    assert cache.get("t") == ["t", "2"]
    file_store.delete("t")
    cache.forget("t")
    assert cache.get("t") is None
    cache.forget("never seen")


def test_a_deleted_task_that_is_put_again_is_another(file_store: TaskStore, clock: Clock) -> None:
    cache = TaskCache(file_store, Parser())
    file_store.put(new_task("t", "1"))
    assert cache.get("t") == ["t", "1"]
    file_store.delete("t")
    file_store.put(new_task("t", "2"))
    clock.age()
    assert cache.get("t") == ["t", "2"]


def test_another_process_is_seen(store: TaskStore, target: StoreTarget) -> None:
    cache = TaskCache(store, Parser())
    with another_process(put_when_told, target) as (_, pipe):
        assert heard(pipe) == "ready"
        for document in ("1", "2", "3"):
            pipe.send(new_task("t", document))
            assert heard(pipe) == "put"
            wait_until(lambda: cache.get("t") == ["t", document])  # noqa: B023


def test_many_threads_ask_once(file_store: TaskStore, clock: Clock) -> None:
    parser = Parser()
    cache = TaskCache(file_store, parser)
    file_store.put(new_task("t", "1"))
    start = threading.Barrier(8)
    found = []

    def ask() -> None:
        start.wait()
        found.append(cache.get("t"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["t", "1"]] * 8
    assert parser.parsed == ["1"]


def test_the_event_loop_finds_a_task(file_store: TaskStore) -> None:
    cache = TaskCache(file_store, Parser())
    file_store.put(new_task("t", "1"))
    assert asyncio.run(cache.find("t")) == ["t", "1"]
    assert asyncio.run(cache.find("u")) is None


def test_a_store_that_is_away_is_said_so_when_the_task_is_too_old(
    file_store: TaskStore, path: Path, clock: Clock
) -> None:
    cache = TaskCache(file_store, Parser())
    file_store.put(new_task("t", "1"))
    assert cache.get("t") == ["t", "1"]
    path.rename(path.with_name("moved"))
    assert cache.get("t") == ["t", "1"]
    clock.age()
    with pytest.raises(StoreUnavailable):
        cache.get("t")
    path.with_name("moved").rename(path)
    time.sleep(AWAY_S)
    assert cache.get("t") == ["t", "1"]


def test_no_more_is_kept_than_its_bytes_and_the_least_recently_used_leaves(
    file_store: TaskStore, clock: Clock
) -> None:
    parser = Parser()
    cache = TaskCache(file_store, parser, max_bytes=250)
    for name in ("a", "b", "c"):
        file_store.put(new_task(name, name * 100))
    file_store.put(new_task("large", "x" * 251))
    for name in ("a", "b", "a", "c", "a", "c", "large"):
        assert cache.get(name) is not None
    assert [document[0] for document in parser.parsed] == ["a", "b", "c", "x"]
    assert [cache.fresh(name) is not None for name in ("a", "b", "c", "large")] == [True, False, True, False]
    assert cache.get("b") == ["b", "b" * 100]
    assert cache.fresh("a") is None


def test_a_document_that_cannot_be_parsed_is_not_kept(file_store: TaskStore) -> None:
    def parse(stored: StoredTask) -> int:
        return int(stored.document)

    with closing(TaskStore(file_store.target)) as writer:
        cache = TaskCache(file_store, parse)
        writer.put(new_task("t", "no number"))
        with pytest.raises(ValueError, match="no number"):
            cache.get("t")
        writer.put(new_task("t", "7"))
        assert cache.get("t") == 7

"""The task store on a real SQLite file and a real PostgreSQL, with other processes, and when it is away."""

from __future__ import annotations

import asyncio
import logging
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.task_store.records import NewTask, StoreBusy, StoredTask, StoreUnavailable, TaskSummary
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile, StoreTarget, postgresql
from tests.patience import PATIENCE_S
from tests.service.postgresql_server import PASSWORD, PostgreSQLServer
from tests.service.store_processes import (
    SPAWN,
    another_process,
    heard,
    kill,
    new_task,
    put_for_ever,
    put_on_a_full_disk,
    put_together,
    read_a_locked_folder,
    stop_before_commit,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tasks.sqlite"


@pytest.fixture
def file_store(path: Path) -> Iterator[TaskStore]:
    store = TaskStore(SQLiteFile(path))
    yield store
    store.close()


def until_back(store: TaskStore) -> list[str]:
    """Return the names when the store answers again."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return [task.name for task in store.summaries()]
        except StoreUnavailable:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_an_empty_store(store: TaskStore) -> None:
    assert store.summaries() == []
    assert store.get("배") is None
    assert store.version("배") is None
    assert store.fit("배") is None
    assert not store.delete("배")


def test_a_task_comes_back_as_it_was_put(store: TaskStore) -> None:
    begun = datetime.now(UTC) - timedelta(milliseconds=1)
    document = '{"배": "é\\u0000\\ud800"}' + "x" * 100_000
    summary = store.put(NewTask("배", "sense", "enko", "a" * 64, document, '{"gamma": 1}'))
    assert summary == TaskSummary(
        "배", "sense", "enko", "a" * 64, '{"gamma": 1}', len(document.encode()), summary.version,
        summary.created_at, summary.created_at,
    )  # fmt: skip
    assert begun <= summary.created_at <= datetime.now(UTC)
    assert store.version("배") == summary.version
    assert store.get("배") == StoredTask(
        "배", "sense", "enko", "a" * 64, '{"gamma": 1}', len(document.encode()), summary.version,
        summary.created_at, summary.created_at, document,
    )  # fmt: skip


def test_a_task_in_place_of_another(store: TaskStore) -> None:
    first = store.put(new_task())
    second = store.put(new_task(document="{}", kind="classify", model="other", model_sha256="b" * 64))
    assert second.created_at == first.created_at < second.updated_at
    assert second.version != first.version
    stored = store.get("배")
    assert stored is not None
    assert (stored.document, stored.kind, stored.model, stored.model_sha256, stored.size_bytes) == (
        "{}", "classify", "other", "b" * 64, 2,
    )  # fmt: skip
    assert store.summaries() == [second]


def test_a_deleted_task_is_gone_and_its_version_never_comes_back(store: TaskStore) -> None:
    first = store.put(new_task())
    assert store.delete("배")
    assert store.get("배") is None
    assert not store.delete("배")
    assert store.put(new_task()).version != first.version


def test_tasks_are_listed_by_code_point(store: TaskStore) -> None:
    for name in ("b", "배", "a", "B", "é", "눈", "a-1"):
        store.put(new_task(name))
    assert [task.name for task in store.summaries()] == ["B", "a", "a-1", "b", "é", "눈", "배"]


def test_four_processes_make_the_store_at_once(store: TaskStore, target: StoreTarget) -> None:
    names = ["a", "b", "c", "d"]
    all_here = SPAWN.Barrier(len(names))
    pipes = [SPAWN.Pipe() for _ in names]
    writers = [
        SPAWN.Process(target=put_together, args=(there, target, all_here, name))
        for name, (_, there) in zip(names, pipes, strict=True)
    ]
    for writer in writers:
        writer.start()
    assert [heard(here) for here, _ in pipes] == [None] * len(names)
    for writer in writers:
        writer.join(PATIENCE_S)
    assert [task.name for task in store.summaries()] == names


def test_a_kill_in_the_midst_of_a_put_leaves_the_old_task(store: TaskStore, target: StoreTarget) -> None:
    old = store.put(new_task())
    with another_process(stop_before_commit, target, new_task(document="x" * 1_000_000), "") as (
        writer,
        pipe,
    ):
        assert heard(pipe) == "written"
        assert store.version("배") == old.version
        kill(writer)
    stored = store.get("배")
    assert stored is not None
    assert (stored.document, stored.version) == ('{"a": "배"}', old.version)
    assert store.put(new_task(document="new")).created_at == old.created_at


def test_a_kill_at_any_time_leaves_a_whole_task(store: TaskStore, target: StoreTarget) -> None:
    with another_process(put_for_ever, target, "t", "abcdefg") as (writer, pipe):
        while heard(pipe) < 10:
            pass
        kill(writer)
    stored = store.get("t")
    assert stored is not None
    assert stored.document == stored.document[0] * 200_000
    store.put(new_task("t"))


def test_operations_are_awaited_without_holding_up_the_loop(file_store: TaskStore) -> None:
    async def both() -> tuple[str, list[TaskSummary]]:
        blocked = asyncio.create_task(file_store.run(slow, release))
        summaries = await file_store.run(file_store.summaries)
        release.set()
        return await blocked, summaries

    def slow(release: threading.Event) -> str:
        assert release.wait(PATIENCE_S)
        return threading.current_thread().name

    release = threading.Event()
    name, summaries = asyncio.run(both())
    assert name.startswith("polyseme-store")
    assert summaries == []


def test_nothing_is_made_or_imported_before_the_first_use(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from service.tasks.fit_lease import FitLease
from service.task_store.target import SQLiteFile
from service.tasks.cache import TaskCache
from service.task_store.store import TaskStore
store = TaskStore(SQLiteFile(Path(sys.argv[1]) / "state" / "tasks.sqlite"))
assert not {"sqlalchemy", "alembic", "psycopg", "sqlite3"} & set(sys.modules), "imported too early"
assert not list(Path(sys.argv[1]).iterdir()), "made too early"
store.summaries()
store.close()
store = TaskStore(store.target)
assert not {"psycopg"} & set(sys.modules), "imported for nothing"
"""
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_a_file_that_is_gone_is_not_made_again(
    file_store: TaskStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "polyseme")
    file_store.put(new_task())
    moved = path.with_name("moved")
    path.rename(moved)
    caplog.clear()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            file_store.get("배")
    assert not path.exists()
    moved.rename(path)
    assert until_back(file_store) == ["배"]
    reason = f"[Errno 2] No such file or directory: '{path}'"
    assert caplog.messages == [f"task store {path} is away: {reason}", f"task store {path} is back"]


def test_another_file_in_its_place(file_store: TaskStore, path: Path, tmp_path: Path) -> None:
    """A backup that is moved in while the server runs, or an empty file, is read from then on."""
    other = TaskStore(SQLiteFile(tmp_path / "other"))
    other.put(new_task("other"))
    other.close()
    file_store.put(new_task())
    (tmp_path / "other").rename(path)
    for log in path.parent.glob("*-*"):
        log.unlink()
    assert until_back(file_store) == ["other"]
    path.unlink()
    path.touch()
    assert until_back(file_store) == []


def test_a_file_that_is_no_database(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.write_text("no database" * 100)
    with closing(TaskStore(SQLiteFile(path))) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                store.put(new_task())
        path.unlink()
        assert until_back(store) == []
    assert caplog.messages[0] == f"task store {path} is away: file is not a database (SQLITE_NOTADB)"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with closing(TaskStore(SQLiteFile(tmp_path / "state" / "tasks.sqlite"))) as store:
        with pytest.raises(StoreUnavailable, match="File exists"):
            store.summaries()
        with pytest.raises(StoreUnavailable, match="could not be opened a moment ago"):
            store.summaries()
        (tmp_path / "state").unlink()
        assert until_back(store) == []


def test_a_folder_that_may_not_be_read(path: Path) -> None:
    with another_process(read_a_locked_folder, SQLiteFile(path)) as (_, pipe):
        # Which of the two depends on where the look into the folder fails.
        assert re.match("unable to open database file|.*Permission denied", heard(pipe))
        assert heard(pipe) == ["배"]


def test_a_full_disk_stops_writing_alone(path: Path) -> None:
    with another_process(put_on_a_full_disk, SQLiteFile(path)) as (_, pipe):
        assert heard(pipe) == "disk I/O error (SQLITE_IOERR_WRITE)"
        assert heard(pipe) == ["small"]
        assert heard(pipe) == ["large", "small"]


def test_a_file_that_others_hold(file_store: TaskStore, path: Path) -> None:
    file_store.put(new_task())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begun = time.monotonic()
        with pytest.raises(StoreBusy, match=r"database is locked \(SQLITE_BUSY\)"):
            file_store.put(new_task("other"))
        assert time.monotonic() - begun > 1.9
        assert [task.name for task in file_store.summaries()] == ["배"]  # readers do not wait
    file_store.put(new_task("other"))


def test_postgresql_stops_and_starts(
    postgresql_server: PostgreSQLServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    target = postgresql(postgresql_server.new_url())
    with closing(TaskStore(target)) as store:
        store.put(new_task())
        caplog.clear()
        postgresql_server.stop()
        try:
            for _ in range(3):
                with pytest.raises(StoreUnavailable) as caught:
                    store.get("배")
                assert PASSWORD not in str(caught.value)
        finally:
            postgresql_server.start()
        assert until_back(store) == ["배"]
        store.put(new_task("other"))
    away, back = caplog.messages
    assert away.startswith(f"task store {target} is away: connection")
    assert back == f"task store {target} is back"
    assert PASSWORD not in caplog.text + repr(store.target) + str(store.target)


def test_postgresql_restarts_between_two_operations(postgresql_server: PostgreSQLServer) -> None:
    target = postgresql(postgresql_server.new_url())
    with closing(TaskStore(target)) as store:
        store.put(new_task())
        postgresql_server.stop()
        postgresql_server.start()
        assert store.get("배") is not None  # nobody notices


@pytest.mark.slow
def test_a_postgresql_that_hangs(postgresql_server: PostgreSQLServer) -> None:
    with closing(TaskStore(postgresql(postgresql_server.new_url()))) as store:
        store.put(new_task())
        with postgresql_server.frozen(), pytest.raises(StoreUnavailable):
            asyncio.run(store.run(store.get, "배"))
        assert until_back(store) == ["배"]
        assert [thread.name for thread in threading.enumerate() if "Timer" in thread.name] == []


def test_a_lock_in_postgresql_that_others_hold(postgresql_server: PostgreSQLServer) -> None:
    import psycopg

    url = postgresql_server.new_url()
    with closing(TaskStore(postgresql(url))) as store:
        store.put(new_task())
        with psycopg.connect(url) as other:
            other.execute("LOCK polyseme_tasks IN EXCLUSIVE MODE")
            with pytest.raises(StoreBusy, match=r"QueryCanceled \(57014\)"):
                store.put(new_task("other"))
            assert [task.name for task in store.summaries()] == ["배"]
        store.put(new_task("other"))


def test_a_database_that_cannot_hold_every_name(postgresql_server: PostgreSQLServer) -> None:
    import psycopg

    with psycopg.connect(postgresql_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    message = "expected a database with the encoding UTF8, got LATIN1"
    with (
        closing(TaskStore(postgresql(postgresql_server.url("latin")))) as store,
        pytest.raises(StoreUnavailable, match=message),
    ):
        store.summaries()

"""The store's tables from nothing and from every step before, against what the code declares."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.task_store import migrations
from service.task_store.database import Database
from service.task_store.migrations.upgrade import REVISIONS, VERSION_TABLE, current_revision, upgrade
from service.task_store.records import SchemaTooNew
from service.task_store.sqlite import make_file
from service.task_store.store import TaskStore
from service.task_store.tables import metadata
from service.task_store.target import SQLiteFile, StoreTarget
from tests.service.store_processes import new_task


def database_at(target: StoreTarget, revision: str | None) -> Database:
    """Return a database whose tables are those of a step."""
    if isinstance(target, SQLiteFile):
        make_file(target.path, timeout_s=2)
    database = Database(target)
    if revision is not None:
        with database.transaction(writes=True) as connection:
            upgrade(connection, revision)
    return database


def test_the_steps_are_the_files() -> None:
    script = ScriptDirectory(Path(migrations.__file__).parent)
    assert tuple(step.revision for step in script.walk_revisions())[::-1] == REVISIONS
    assert script.get_heads() == [REVISIONS[-1]]


@pytest.mark.parametrize("revision", [None, *REVISIONS])
def test_every_store_becomes_what_the_code_declares(target: StoreTarget, revision: str | None) -> None:
    with closing(database_at(target, revision)) as database:
        database.prepare()
        with database.transaction(writes=False) as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
            )
            assert compare_metadata(context, metadata) == []
            assert current_revision(connection) == REVISIONS[-1]


def test_tasks_of_the_step_before_stay(target: StoreTarget) -> None:
    with closing(database_at(target, "0001")) as database:
        with database.statements(writes=True) as statements:
            statements.put_task(new_task())
        with database.transaction(writes=False) as connection:
            assert not inspect(connection).has_table("polyseme_fits")
    with closing(TaskStore(target)) as store:
        task = store.get("배")
        assert task is not None
        assert task.document == '{"a": "배"}'
        assert store.fit("배") is None


def test_a_store_of_a_newer_version_is_refused_and_left_alone(
    target: StoreTarget, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(database_at(target, REVISIONS[-1])) as database:
        with database.transaction(writes=True) as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        with closing(TaskStore(target)) as store, pytest.raises(SchemaTooNew) as caught:
            store.put(new_task())
        message = (
            "its tables have the form '9999', and this Polyseme knows '0002' and before: install the newer "
            "one that has changed them, or name another store"
        )
        assert str(caught.value) == message
        assert caplog.messages == [f"task store {target} is away: {message}"]
        with database.transaction(writes=True) as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0002'"))
    with closing(TaskStore(target)) as store:
        assert store.summaries() == []


def fail_after_upgrade(database: Database) -> None:
    with database.transaction(writes=True) as connection:
        upgrade(connection)
        raise ZeroDivisionError


def test_a_step_that_is_cut_off_leaves_nothing(target: StoreTarget) -> None:
    with closing(database_at(target, None)) as database:
        with pytest.raises(ZeroDivisionError):
            fail_after_upgrade(database)
        with database.transaction(writes=False) as connection:
            assert current_revision(connection) is None
            assert inspect(connection).get_table_names() == []


def test_a_current_store_needs_no_alembic(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite"
    with closing(TaskStore(SQLiteFile(path))) as store:
        store.put(new_task())
    code = """
import sys
from pathlib import Path
from service.task_store.target import SQLiteFile
from service.task_store.store import TaskStore
store = TaskStore(SQLiteFile(Path(sys.argv[1])))
assert [task.name for task in store.summaries()] == ["배"]
store.close()
assert not {"alembic", "mako", "psycopg"} & set(sys.modules)
"""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

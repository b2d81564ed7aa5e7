"""Where the task store is: defaults, and a URL whose password nobody reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import SettingsError, read_settings
from service.task_store.target import PostgreSQL, SQLiteFile, default_path, postgresql, store_target

URL = "postgresql://polyseme:correct-horse@db.example.org:5433/tasks?sslmode=require"

EXPECTED = (
    "expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE, "
    "special characters in the password written as %XX"
)


def test_the_default_is_the_users_folder_for_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/users/someone")
    at_home = Path("/users/someone/.local/state/polyseme/tasks.sqlite")
    assert default_path({"XDG_STATE_HOME": "/var/state"}) == Path("/var/state/polyseme/tasks.sqlite")
    assert default_path({}) == default_path({"XDG_STATE_HOME": ""}) == at_home
    assert default_path({"XDG_STATE_HOME": "relative"}) == at_home
    assert store_target(None, None, {"XDG_STATE_HOME": "/s"}) == SQLiteFile(Path("/s/polyseme/tasks.sqlite"))


def test_a_path_is_that_of_the_folder_where_the_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings({"POLYSEME_TASKS_PATH": "tasks.sqlite"}, {})
    assert store_target(settings.tasks_path, settings.database_url, {}) == SQLiteFile(
        tmp_path / "tasks.sqlite"
    )
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"tasks_path": ""})
    assert str(caught.value) == "--tasks-path: expected the path of a file, got an empty one"


def test_a_database_wins_and_nobody_reads_its_password() -> None:
    settings = read_settings({"POLYSEME_TASKS_PATH": "/data/t", "POLYSEME_DATABASE_URL": URL}, {})
    target = store_target(settings.tasks_path, settings.database_url, {})
    assert target == PostgreSQL(URL, "postgresql://db.example.org:5433/tasks")
    assert str(target) == "postgresql://db.example.org:5433/tasks"
    assert "correct-horse" not in repr(target) + repr(settings)


def test_a_wrong_variable_is_named_and_its_value_is_not() -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"POLYSEME_DATABASE_URL": "mysql://u:correct-horse@db/tasks"}, {})
    assert str(caught.value) == f"POLYSEME_DATABASE_URL: {EXPECTED}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgres://db/tasks", "postgresql://db/tasks"),
        ("postgresql://u@[::1]:5432/tasks", "postgresql://::1:5432/tasks"),
        ("postgresql:///tasks?host=/run/postgresql", "postgresql:///tasks"),
        ("postgresql://u:p%40ss%2Fword@db/tasks", "postgresql://db/tasks"),
    ],
)
def test_forms_of_a_url(url: str, place: str) -> None:
    assert str(postgresql(url)) == place


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///secret.sqlite",
        "mysql://u:secret@db/tasks",
        "postgresql://u:secret@db",
        "postgresql://u:secret@db/",
        "postgresql://u:secret/part@db/tasks",
        "postgresql://u:12/secret@db/tasks",
        "postgresql://u:12?secret@db/tasks",
        "postgresql://u:12#secret@db/tasks",
        "postgresql://u:secret@part@db/tasks",
        "postgresql://u:secret@db:port/tasks",
        "postgresql://[secret/tasks",
        "secret",
    ],
)
def test_a_wrong_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        postgresql(url)
    assert str(caught.value) == EXPECTED

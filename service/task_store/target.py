"""Where the task store is: a SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

DATABASE_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"


@dataclass(frozen=True, slots=True)
class SQLiteFile:
    """A file, made with its folder at first use."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A database that exists. Only host, port and database are ever shown."""

    url: str = field(repr=False)
    place: str

    def __str__(self) -> str:
        return self.place


StoreTarget = SQLiteFile | PostgreSQL


def store_target(
    path: Path | None, database: PostgreSQL | None, environment: Mapping[str, str]
) -> StoreTarget:
    """Return the database when there is one, else the file; None stands for the default. Opens nothing."""
    return database or SQLiteFile(path or default_path(environment))


def file_path(text: str) -> Path:
    """Return the path, absolute from now on. Raises ValueError when it is empty."""
    if not text:
        raise ValueError("expected the path of a file, got an empty one")
    return Path(text).absolute()


def default_path(environment: Mapping[str, str]) -> Path:
    """Return the place for a user's state that the XDG Base Directory Specification names."""
    given = environment.get("XDG_STATE_HOME", "")
    # The specification has a relative path ignored.
    folder = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    return folder / "polyseme" / "tasks.sqlite"


def postgresql(url: str) -> PostgreSQL:
    """Return the database of a URL. Raises ValueError, which does not repeat it: it may hold a password."""
    try:
        parts = urlsplit(url)
        # A "/", "?", "#" or "@" in a password cuts the URL at the wrong place, so that it would be shown.
        is_whole = url.count("@") <= 1 and "@" not in parts.path + parts.query and not parts.fragment
        is_ours = parts.scheme in ("postgresql", "postgres") and is_whole and len(parts.path) > 1
        place = f"postgresql://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        is_ours = False
    if not is_ours:
        raise ValueError(f"expected {DATABASE_FORM}, special characters in the password written as %XX")
    if importlib.util.find_spec("psycopg") is None:
        raise ValueError("PostgreSQL needs the extra postgres: pip install 'polyseme[postgres]'")
    return PostgreSQL(url, place)

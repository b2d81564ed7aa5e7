"""Bring a store's tables to the form that this code knows.

Alembic takes 150 ms and 11 MB to import, so it is, only when there is a step to make.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from sqlalchemy import Connection, column, inspect, select, table

from service.task_store.records import SchemaTooNew

logger = logging.getLogger("polyseme")

REVISIONS = ("0001", "0002")
"""Every step there is, the newest last; a test compares them with the files."""

VERSION_TABLE = "polyseme_schema"

_one_at_a_time = threading.Lock()
"""Alembic keeps what it works on in global variables."""


def current_revision(connection: Connection) -> str | None:
    """Return the last step that the store has seen, or None for an empty one.

    Raises SchemaTooNew when it is none of ours.
    """
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    if revision is None or revision in REVISIONS:
        return revision
    raise SchemaTooNew(
        f"its tables have the form {revision!a}, and this Polyseme knows {REVISIONS[-1]!a} and before: "
        f"install the newer one that has changed them, or name another store"
    )


def upgrade(connection: Connection, to: str = REVISIONS[-1]) -> None:
    """Make the steps that the store has not seen, in the connection's transaction, which must exclude others.

    Raises SchemaTooNew.
    """
    before = current_revision(connection)
    if before == to:
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, to)
    logger.info("task store: tables brought from %s to %s", before or "nothing", to)

"""The tables of the task store. The migrations make them; a test compares the two.

The names begin with polyseme_ because a PostgreSQL database may be shared. Times are seconds since 1970 in
UTC, by the clock of the database, which all processes share.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Integer, MetaData, String, Table, Text

from service.task_store.records import MAX_NAME_CHARACTERS

metadata = MetaData()

tasks = Table(
    "polyseme_tasks",
    metadata,
    Column("name", String(MAX_NAME_CHARACTERS), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("model", Text, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("summary", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("version", String(32), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
)

# One row a name, so that no name can have two fits: the last one, live or ended.
fits = Table(
    "polyseme_fits",
    metadata,
    Column("name", String(MAX_NAME_CHARACTERS), primary_key=True),
    Column("id", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("progress", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("num_examples", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("heartbeat_at", Double, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
)

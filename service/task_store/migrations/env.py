"""What Alembic runs for a command: the steps, on the connection and in the transaction of upgrade.py."""

from __future__ import annotations

from alembic import context

from service.task_store.migrations.upgrade import VERSION_TABLE

# On SQLite, too, DDL is part of the transaction: database.py leaves none of it to the driver.
context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

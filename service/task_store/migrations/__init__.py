"""How the task store's tables came about, step by step, for Alembic.

A new step is a file in versions/ and its number in upgrade.REVISIONS. A step only adds: servers of the
version before go on with a store that a newer one has changed.
"""

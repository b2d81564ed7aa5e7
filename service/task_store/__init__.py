"""Where learned tasks are kept: SQLite or PostgreSQL. Knows rows, nothing of numpy or the network."""

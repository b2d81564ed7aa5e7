"""How a command that cannot begin says so: one line and an exit status."""

from __future__ import annotations

EXIT_NO = 1
"""What was asked for is not there, or was answered with no."""

EXIT_REFUSED = 2
"""A wrong setting, a bundle that cannot be served, an address that is taken."""


class Refusal(ValueError):
    """One line for the user of a command, which ends with this status."""

    def __init__(self, message: str, status: int = EXIT_REFUSED) -> None:
        super().__init__(message)
        self.status = status


def one_line(error: Exception) -> str:
    """Return why, without the number that OSError puts before it."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"

"""What the help pages of `polyseme-train` have in common."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

STATUSES = "0 when it is done; 2, with one line that says why, when something given is wrong or missing"
UNREAD = "141 when nobody reads the output any more"
EXIT_STATUS = f"Exit status: {STATUSES}; 130 after Ctrl-C; {UNREAD}."
EXIT_STATUS_OF_A_RUN = f"Exit status: {STATUSES}; 130 after Ctrl-C, and then --resume goes on; {UNREAD}."


def add_command(
    commands: Commands, name: str, what: str, more: str = "", exit_status: str = EXIT_STATUS
) -> argparse.ArgumentParser:
    """Return a new command's parser. what: a phrase for the list of commands; more: for its own page, after
    it."""
    description = f"{what[0].upper()}{what[1:]}. {more}".strip()
    return commands.add_parser(name, help=what, description=description, epilog=exit_status)

"""Completion in a shell, by argcomplete: the script that a shell reads, and what it is answered.

A shell that completes runs the program with _ARGCOMPLETE set; it answers instead of doing anything.
"""

from __future__ import annotations

import argparse
import importlib.util
import os

from service.commands.store import open_to_read, target_of
from service.refusal import Refusal
from service.settings import read_settings

PROGRAMS = ("polyseme", "polyseme-train")


def script(shell: str) -> str:
    """Return what a shell evaluates to complete both programs. Raises Refusal without the extra."""
    if importlib.util.find_spec("argcomplete") is None:
        raise Refusal("completion needs the extra completion: pip install 'polyseme[completion]'")
    from argcomplete.shell_integration import shellcode

    return shellcode(PROGRAMS, shell=shell)


def answer(parser: argparse.ArgumentParser) -> None:
    """Write what may stand at the cursor, and end the process."""
    from argcomplete import autocomplete

    autocomplete(parser)


def task_names(flags: argparse.Namespace) -> list[str]:
    """Return the names of the tasks in the store of these flags."""
    with open_to_read(target_of(read_settings(os.environ, vars(flags)))) as store:
        return [] if store is None else [task.name for task in store.summaries()]

"""The command line of `polyseme`. Parsing only; what a command does is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from service.refusal import EXIT_REFUSED, one_line
from service.settings import Settings, SettingsError, add_flags, read_settings
from service.tasks.fit_flags import DESCRIPTION, EPILOG, add_fit_flags
from service.version import package_version


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    top = argparse.ArgumentParser(prog="polyseme", description="Contextual word vectors over HTTP.")
    top.add_argument("--version", action="store_true", help="show the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="serve bundles over HTTP",
        description="Serve bundles over HTTP. Each flag is a variable too, named at its end; the flag wins.",
        epilog="Exit status: 0 after SIGTERM, SIGHUP or Ctrl-C; 2, with one line that says why, when a "
        "setting is wrong, a bundle cannot be served or the address cannot be bound.",
    )
    add_flags(serving)
    fitting = commands.add_parser(
        "fit",
        help="learn a task from a file of examples",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_fit_flags(fitting)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    top = parser()
    flags = vars(top.parse_args(arguments))
    if flags["version"]:
        print(f"polyseme {package_version()}")
        return 0
    if flags["command"] is None:
        top.error("expected a command, got none")
    try:
        settings = read_settings(os.environ, flags)
    except SettingsError as error:
        return _refuse(error)

    return (_fit if flags["command"] == "fit" else _serve)(settings, flags)


def _fit(settings: Settings, flags: dict[str, Any]) -> int:
    from model.bundle import BundleError
    from service.task_store.records import StoreUnavailable
    from service.tasks.example_files import FileError
    from service.tasks.fit_command import FitError, fit_from_file

    try:
        fit_from_file(argparse.Namespace(**flags), settings)
    except (BundleError, FileError, FitError, OSError, StoreUnavailable) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("polyseme: stopped; nothing is kept", file=sys.stderr)
        raise
    return 0


def _serve(settings: Settings, flags: dict[str, Any]) -> int:
    # The libraries behind these names take most of a second to load, which --help need not wait for.
    from model.bundle import BundleError
    from service.server import serve
    from service.workers import WorkersError, serve_with_workers

    try:
        (serve if settings.workers == 1 else serve_with_workers)(settings)
    except (BundleError, OSError, WorkersError) as error:
        return _refuse(error)
    return 0


def _refuse(error: Exception) -> int:
    print(f"polyseme: {one_line(error)}", file=sys.stderr)
    return EXIT_REFUSED

"""`polyseme`: the command line. Parsing only; what a command does is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from service.refusal import EXIT_REFUSED, one_line
from service.settings import SettingsError, add_flags, read_settings
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
        epilog="Exit status: 0 after SIGTERM or Ctrl-C; 2, with one line that says why, when a setting is "
        "wrong, a bundle cannot be served or the address cannot be bound.",
    )
    add_flags(serving)
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

    # The libraries behind these names take most of a second to load, which --help need not wait for.
    from model.bundle import BundleError
    from service.server import serve
    from service.workers import WorkersError, serve_with_workers

    try:
        (serve if settings.workers == 1 else serve_with_workers)(settings)
    except (BundleError, OSError, WorkersError) as error:
        return _refuse(error)
    except KeyboardInterrupt:  # before the server had taken over the signal; afterwards it ends by itself
        return 0
    return 0


def _refuse(error: Exception) -> int:
    print(f"polyseme: {one_line(error)}", file=sys.stderr)
    return EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())

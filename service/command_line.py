"""The command line of `polyseme`. Parsing only; what a command does is elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from service.bulk.flags import add_embed
from service.commands.flags import add_completion, add_inspect, add_score, add_tasks
from service.commands.terminal import printable
from service.refusal import EXIT_REFUSED, Refusal, one_line
from service.settings import Settings, SettingsError, add_flags, read_settings
from service.tasks.fit_flags import DESCRIPTION, EPILOG, add_fit_flags
from service.version import package_version

Flags = argparse.Namespace


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    top = argparse.ArgumentParser(
        prog="polyseme",
        description="Contextual word vectors: over HTTP, and at the command line.",
        epilog="Exit status: 0 when it is done; 1 when what was asked for is not there; 2, with one line or "
        "the usage, when something given is wrong or missing; 130 after Ctrl-C. Each command's page has its "
        "own.",
    )
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
    add_embed(commands)
    add_tasks(commands)
    add_score(commands)
    add_inspect(commands)
    add_completion(commands)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    top = parser()
    if "_ARGCOMPLETE" in os.environ:  # set by a shell that completes, and by nothing else
        from service.commands.completion import answer

        answer(top)
    flags = top.parse_args(arguments)
    if flags.version:
        print(f"polyseme {package_version()}")
        return 0
    if flags.command is None:
        top.error("expected a command, got none")
    try:
        settings = read_settings(os.environ, vars(flags))
    except SettingsError as error:
        return _refuse(error)
    return _COMMANDS[flags.command](flags, settings)


def _serve(_: Flags, settings: Settings) -> int:
    # The libraries behind these names take most of a second to load, which --help need not wait for.
    from model.bundle import BundleError
    from service.server import serve
    from service.workers import WorkersError, serve_with_workers

    try:
        (serve if settings.workers == 1 else serve_with_workers)(settings)
    except (BundleError, OSError, WorkersError) as error:
        return _refuse(error)
    return 0


def _fit(flags: Flags, settings: Settings) -> int:
    from model.bundle import BundleError
    from service.tasks.example_files import FileError
    from service.tasks.fit_command import FitError, fit_from_file

    try:
        fit_from_file(flags, settings)
    except (BundleError, FileError, FitError, OSError, Refusal) as error:
        return _refuse(error)
    except KeyboardInterrupt:
        print("polyseme: stopped; nothing is kept", file=sys.stderr)
        raise
    return 0


def _embed(flags: Flags, settings: Settings) -> int:
    from service.bulk.embed_command import embed

    return _told(lambda: embed(flags, settings))


def _tasks(flags: Flags, settings: Settings) -> int:
    from service.commands.tasks import tasks

    return _told(lambda: tasks(flags, settings))


def _score(flags: Flags, settings: Settings) -> int:
    from service.commands.score import score

    return _told(lambda: score(flags, settings))


def _inspect(flags: Flags, settings: Settings) -> int:
    from service.commands.inspect_bundle import inspect

    return _told(lambda: inspect(flags, settings))


def _completion(flags: Flags, _: Settings) -> int:
    from service.commands.completion import script

    return _told(lambda: print(script(flags.shell)))


_COMMANDS = {
    "serve": _serve,
    "fit": _fit,
    "embed": _embed,
    "tasks": _tasks,
    "score": _score,
    "inspect": _inspect,
    "completion": _completion,
}


def _told(command: Callable[[], int | None]) -> int:
    """Run a command whose errors are lines for its user, and return its exit status: its own, else 0."""
    from model.bundle import BundleError

    try:
        status = command()
        sys.stdout.flush()  # here a full disk can still be told
    except BrokenPipeError:
        raise
    except Refusal as error:
        return _refuse(error, error.status)
    except (BundleError, OSError) as error:
        return _refuse(error)
    return status or 0


def _refuse(error: Exception, status: int = EXIT_REFUSED) -> int:
    print(f"polyseme: {printable(one_line(error))}", file=sys.stderr)
    return status

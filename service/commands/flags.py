"""The flags of these commands and what their help pages say; nothing that takes time to load."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from service.settings import add_flags

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

SHELLS = ("bash", "zsh", "fish")

STOPPED = "130 after Ctrl-C; 141 when nobody reads the output any more"

SCORE = """\
Show how probable the language model under the vectors finds sentences. On a terminal each stands twice,
its tokens coloured by how much they surprise, read forward (->) and read backward (<-); elsewhere there
are columns. The numbers are those of POST /v1/score: natural logarithms, perplexity per token.
"""

SCORE_EPILOG = f"""\
Colour goes to a terminal, unless NO_COLOR is set to anything or TERM is dumb.

Exit status: 0 when every sentence has its numbers; 2, with one line that says why, when a sentence, a
file, a setting or the bundle is wrong; {STOPPED}.
"""

INSPECT = (
    "Read every file of a bundle, compare its sha256 with the manifest's, and say what the bundle is: "
    "languages, licence, sizes, layers, the text it was trained on, its limits."
)
INSPECT_EPILOG = (
    "Exit status: 0 when every file is the one that the manifest lists; 2, with one line that says which is "
    f"not, or that there is no bundle; {STOPPED}."
)

TASKS = (
    "The learned tasks that `polyseme serve` and `polyseme fit` keep. These commands work on the store "
    "itself, whether a server runs or not; servers see a change within a second."
)
STORE_WRONG = "2, with one line that says why, when a setting is wrong or the store cannot be asked"
NO_TASK = "1, with one line, when there is no such task"

COMPLETION = """\
Print a script with which a shell completes the commands, flags and files of polyseme and polyseme-train,
and names of tasks. Needs the extra completion: pip install 'polyseme[completion]'.
"""

COMPLETION_EPILOG = """\
To have it in every new shell:

  bash   echo 'eval "$(polyseme completion bash)"' >> ~/.bashrc
  zsh    echo 'eval "$(polyseme completion zsh)"' >> ~/.zshrc     (after compinit)
  fish   polyseme completion fish > ~/.config/fish/completions/polyseme.fish

Exit status: 0; 2, with one line that says why, when the extra is missing.
"""


def add_score(commands: Commands) -> None:
    parser = commands.add_parser(
        "score",
        help="show how surprising the tokens of sentences are",
        description=SCORE,
        epilog=SCORE_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "texts", nargs="*", metavar="SENTENCE", help="one or more (default: the lines of standard input)"
    )
    parser.add_argument(
        "--file", type=Path, metavar="FILE", help="sentences, one a line, UTF-8; empty lines are passed over"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colour the tokens, or print columns (default: auto, see below)",
    )
    form.add_argument("--json", action="store_true", help="print the reply of POST /v1/score")
    add_flags(parser, "bundle", "threads", "precision")


def add_inspect(commands: Commands) -> None:
    parser = commands.add_parser(
        "inspect",
        help="say what a bundle is, and whether it is whole",
        description=INSPECT,
        epilog=INSPECT_EPILOG,
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="BUNDLE",
        help="folder of a bundle (default: POLYSEME_BUNDLE, or the bundle that comes with the package)",
    )
    parser.add_argument("--json", action="store_true", help="print all of it as one JSON object")


def add_tasks(commands: Commands) -> None:
    parser = commands.add_parser(
        "tasks",
        help="list, show, delete, export and import learned tasks",
        description=TASKS,
        epilog="Exit status: that of the command; 2, with its usage, for no command.",
    )
    actions = parser.add_subparsers(dest="action", metavar="COMMAND", required=True)
    _add_list(actions)
    _add_show(actions)
    _add_delete(actions)
    _add_export(actions)
    _add_import(actions)
    for action in actions.choices.values():
        add_flags(action, "tasks_path", "database_url")


def _add_list(actions: Commands) -> None:
    parser = _add(actions, "list", "show a line for each task", f"0, also for none; {STORE_WRONG}; {STOPPED}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print what GET /v1/tasks answers")
    form.add_argument("-q", "--quiet", action="store_true", help="print the names only, one a line")


def _add_show(actions: Commands) -> None:
    what = "show what a task has learned: the layers' weights, and its report beside chance and each layer"
    parser = _add(actions, "show", what, f"0; {NO_TASK}; {STORE_WRONG}; {STOPPED}")
    _add_name(parser)
    parser.add_argument(
        "--json", action="store_true", help="print its entry, labels and report as one object"
    )


def _add_delete(actions: Commands) -> None:
    asked = "1, with one line, when there is no such task or the answer is no (then all of them stay)"
    nobody = f"{STORE_WRONG}, or there is no terminal to ask on and no --yes"
    parser = _add(actions, "delete", "remove tasks, after asking", f"0; {asked}; {nobody}; {STOPPED}")
    _add_name(parser, nargs="+")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _add_export(actions: Commands) -> None:
    what = "write the document of a task, as `polyseme tasks import` and PUT /v1/tasks/NAME take it"
    parser = _add(actions, "export", what, f"0; {NO_TASK}; {STORE_WRONG}; {STOPPED}")
    _add_name(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def _add_import(actions: Commands) -> None:
    what = (
        "keep the task of a document, under the rules of PUT /v1/tasks/NAME: it must be of one of the "
        "bundles; an older task of its name is replaced"
    )
    parser = _add(actions, "import", what, f"0; {STORE_WRONG}, or the document is none of theirs; {STOPPED}")
    parser.add_argument("file", type=Path, metavar="FILE", help="a JSON document; - is standard input")
    parser.add_argument("--name", help="what requests will call the task (default: the document's name)")
    add_flags(parser, "bundle")


def add_completion(commands: Commands) -> None:
    parser = commands.add_parser(
        "completion",
        help="print a script for completion in a shell",
        description=COMPLETION,
        epilog=COMPLETION_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def _add(actions: Commands, name: str, what: str, statuses: str) -> argparse.ArgumentParser:
    description = what[0].upper() + what[1:] + "."
    return actions.add_parser(name, help=what, description=description, epilog=f"Exit status: {statuses}.")


def _add_name(parser: argparse.ArgumentParser, **details: Any) -> None:
    action = parser.add_argument("name", metavar="NAME", help="what requests call the task", **details)
    action.completer = _task_names  # type: ignore[attr-defined]  # argcomplete reads it


def _task_names(**asked: Any) -> list[str]:
    from service.commands.completion import task_names

    return task_names(asked["parsed_args"])

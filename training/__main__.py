"""`polyseme-train`: parsing only."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from training.baselines.arguments import add_baseline
from training.help import EXIT_STATUS, EXIT_STATUS_OF_A_RUN, Commands, add_command
from training.import_parser import add_import

EXIT_OK, EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 0, 2, 130, 141


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polyseme-train",
        description="Train a contextual embedding model on your own text, and make the bundle that "
        "`polyseme serve` serves.",
        epilog=f"{EXIT_STATUS} Each command's help page has its own.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_tokenizer(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_perplexity(commands)
    add_baseline(commands, _add_config)
    _add_curves(commands)
    _add_export(commands)
    _add_probe(commands)
    add_import(commands)
    return parser


def _add_run(commands: Commands) -> None:
    parser = add_command(
        commands,
        "run",
        "from text files to a bundle: tokenizer, train, evaluate, export",
        exit_status=EXIT_STATUS_OF_A_RUN,
    )
    _add_config(parser)
    _add_training_options(parser)
    parser.add_argument(
        "--bundle",
        type=Path,
        metavar="FOLDER",
        help="where the bundle goes (default: bundle in --work's folder)",
    )


def _add_tokenizer(commands: Commands) -> None:
    parser = add_command(
        commands,
        "tokenizer",
        "learn the vocabulary and the alphabet, and pack the text",
        "The first step of run.",
    )
    _add_config(parser)


def _add_train(commands: Commands) -> None:
    parser = add_command(
        commands,
        "train",
        "train (after `tokenizer`'s work, if that is not done yet)",
        "The steps of run but for the bundle.",
        EXIT_STATUS_OF_A_RUN,
    )
    _add_config(parser)
    _add_training_options(parser)


def _add_evaluate(commands: Commands) -> None:
    parser = add_command(commands, "evaluate", "measure a bundle's held-out perplexity")
    _add_bundle(parser)
    parser.add_argument(
        "--heldout",
        action="append",
        required=True,
        type=_language_and_path,
        metavar="LANGUAGE=PATH",
        help="text to measure on, a file or a folder; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_perplexity(commands: Commands) -> None:
    parser = add_command(
        commands, "perplexity", "measure perplexity that others can check, from the files that are served"
    )
    _add_bundle(parser)
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="text, a paragraph a line: *.txt, *.txt.gz or *.txt.xz",
    )
    parser.add_argument(
        "--sources",
        type=Path,
        metavar="TOML",
        help="how many documents of each source stand in these files: they are measured one by one then",
    )
    parser.add_argument(
        "--wikitext",
        type=Path,
        metavar="FILE",
        help="WikiText's word-level test file, which is detokenised: zero-shot",
    )
    parser.add_argument(
        "--ptb", type=Path, metavar="FILE", help="Penn Treebank's test file in Mikolov's form, the same"
    )
    parser.add_argument(
        "--precision",
        action="append",
        choices=["float32", "int8"],
        help="arithmetic of the recurrent layers (default: float32); may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_curves(commands: Commands) -> None:
    parser = add_command(commands, "curves", "draw the held-out perplexity of runs against tokens")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="an .svg or .png")


def _add_export(commands: Commands) -> None:
    parser = add_command(
        commands,
        "export",
        "write the bundle of a trained run",
        "The last step of run, from its best weights.",
    )
    _add_config(parser)
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the bundle's folder; an older bundle there is replaced"
    )


def _add_probe(commands: Commands) -> None:
    parser = add_command(
        commands,
        "probe",
        "measure a bundle on the open evaluation sets",
        "What is finished stays: the same command goes on with the set that it was at.",
    )
    _add_bundle(parser)
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="a folder with a folder for each set"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the report goes")
    parser.add_argument("--sets", type=lambda text: text.split(","), metavar="A,B,C", help="only these sets")
    parser.add_argument(
        "--precision",
        choices=["float32", "int8"],
        default="float32",
        help="arithmetic of the recurrent layers (default: float32)",
    )
    parser.add_argument(
        "--rows",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="rows measured elsewhere, as JSON, to show beside the bundle's; may be repeated",
    )
    parser.add_argument(
        "--wordnet",
        type=Path,
        metavar="FOLDER",
        help="WordNet 3.0 (Debian's wordnet-base: /usr/share/wordnet): its first senses for words that "
        "wsd_semcor_all has no training for (default: only the other words are measured)",
    )


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the folder of a bundle")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="a TOML file, such as training/configs/enko.toml"
    )
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="the run's folder: text, checkpoints, and the bundle (default: runs/NAME, the bundle's name)",
    )
    for name, purpose in (("train", "text to learn from"), ("heldout", "text to measure on")):
        parser.add_argument(
            f"--{name}",
            action="append",
            default=[],
            type=_language_and_path,
            metavar="LANGUAGE=PATH",
            help=f"{purpose} instead of the configuration's: a file or a folder of *.txt, *.txt.gz or "
            "*.txt.xz, UTF-8, a paragraph a line, an empty line between documents; may be repeated",
        )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_true", help="go on from the run's last checkpoint")
    start.add_argument(
        "--init-from",
        type=Path,
        metavar="BUNDLE",
        help="start from this bundle's weights, vocabulary and alphabet",
    )


def _language_and_path(text: str) -> tuple[str, Path]:
    language, separator, path = text.partition("=")
    if not (language and separator and path):
        raise argparse.ArgumentTypeError(f"expected LANGUAGE=PATH, such as en=texts/, got {text!r}")
    return language, Path(path)


def _by_language(pairs: Sequence[tuple[str, Path]]) -> dict[str, list[Path]]:
    texts: dict[str, list[Path]] = {}
    for language, path in pairs:
        texts.setdefault(language, []).append(path)
    return texts


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    if "_ARGCOMPLETE" in os.environ:  # set by a shell that completes (polyseme completion)
        from argcomplete import autocomplete

        autocomplete(parser)
    options = parser.parse_args(arguments)
    if "train" in options:
        options.train, options.heldout = _by_language(options.train), _by_language(options.heldout)
    elif "heldout" in options:
        options.heldout = _by_language(options.heldout)
    try:
        # torch takes a second or two to import: `--help` and a mistyped option do not wait for it.
        from training import commands

        done = getattr(commands, options.command)(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads the output any more (`| head`). What is left of it must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except (ValueError, OSError) as error:
        # One write: torchrun gives several processes one stream, and print would write the line end apart.
        sys.stderr.write(f"polyseme-train: {_one_line(error)}\n")
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        done = False
    if not done:
        print("polyseme-train: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


def _one_line(error: Exception) -> str:
    """Return why, without the number that OSError puts before it."""
    why = str(error)
    if isinstance(error, OSError) and error.strerror is not None:
        why = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(why.split()))


if __name__ == "__main__":
    sys.exit(main())

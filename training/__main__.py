"""`polyseme-train`: parsing only."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.baselines.arguments import add_baseline
from training.import_parser import add_import

EXIT_OK, EXIT_USER_ERROR, EXIT_INTERRUPTED = 0, 2, 130

EXIT_CODES = """exit codes: 0 done, 2 something given is wrong or missing (one line says what),
130 interrupted (the run can be resumed)"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polyseme-train",
        description="Train a contextual embedding model on your own text, and make the bundle that "
        "`polyseme serve` serves.",
        epilog=EXIT_CODES,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(
        commands.add_parser("run", help="from text files to a bundle: tokenizer, train, evaluate, export")
    )
    _add_tokenizer(
        commands.add_parser("tokenizer", help="learn the vocabulary and the alphabet, and pack the text")
    )
    _add_train(commands.add_parser("train", help="train (after `tokenizer`'s work, if that is not done yet)"))
    _add_evaluate(commands.add_parser("evaluate", help="a bundle's held-out perplexity"))
    _add_perplexity(
        commands.add_parser(
            "perplexity", help="perplexity that others can check, from the files that are served"
        )
    )
    add_baseline(
        commands.add_parser("baseline", help="measure what the model is compared with, by the same probes"),
        _add_config,
    )
    _add_curves(commands.add_parser("curves", help="draw the held-out perplexity of runs against tokens"))
    _add_export(commands.add_parser("export", help="write the bundle of a trained run"))
    _add_probe(commands.add_parser("probe", help="measure a bundle on the open evaluation sets"))
    add_import(commands.add_parser("import", help="make a bundle of a published ELMo checkpoint"))
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_training_options(parser)
    parser.add_argument("--bundle", type=Path, help="where the bundle goes (default: WORK/bundle)")


def _add_tokenizer(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_training_options(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--heldout",
        action="append",
        required=True,
        type=_language_and_path,
        metavar="LANGUAGE=PATH",
        help="text to measure on, a file or a folder; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_perplexity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
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


def _add_curves(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="an .svg or .png")


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the bundle's folder; an older bundle there is replaced"
    )


def _add_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
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
    options = build_parser().parse_args(arguments)
    # torch takes a second or two to import: `--help` and a mistyped option do not wait for it.
    from training import commands

    if "train" in options:
        options.train, options.heldout = _by_language(options.train), _by_language(options.heldout)
    elif "heldout" in options:
        options.heldout = _by_language(options.heldout)
    try:
        done = getattr(commands, options.command)(options)
    except (ValueError, OSError) as error:
        # One write: torchrun gives several processes one stream, and print would write the line end apart.
        sys.stderr.write(f"polyseme-train: {' '.join(str(error).split())}\n")
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        done = False
    if not done:
        print("polyseme-train: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())

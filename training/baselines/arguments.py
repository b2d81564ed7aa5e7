"""The options of `polyseme-train baseline`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from training.help import Commands, add_command


def add_baseline(commands: Commands, add_config: Callable[[argparse.ArgumentParser], None]) -> None:
    """add_config: adds a configuration, its folder and its text to a parser."""
    parser = add_command(commands, "baseline", "measure what the model is compared with, by the same probes")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    fasttext = add_command(
        kinds,
        "fasttext",
        "static vectors of the same text, alone and with neighbours",
        "Needs the extra baselines: pip install 'polyseme[train,baselines]'.",
    )
    fasttext.add_argument(
        "--work", type=Path, required=True, metavar="FOLDER", help="where the vectors are kept, 2 GB"
    )
    fasttext.add_argument(
        "texts", nargs="+", type=Path, metavar="TEXT", help="text to learn from: files, or folders of them"
    )
    fasttext.add_argument("--epochs", type=int, metavar="N", help="times that the text is read (default: 5)")
    fasttext.add_argument(
        "--max-words", type=int, metavar="N", help="learn from about so many words, spread over the text"
    )
    _add_probe(fasttext, required=True)
    counts = add_command(kinds, "counts", "TF-IDF for texts, the commonest tag for words")
    _add_probe(counts, required=True)
    untrained = add_command(kinds, "untrained", "a bundle's network with random weights")
    untrained.add_argument("bundle", type=Path, metavar="BUNDLE", help="the folder of a bundle")
    _add_probe(untrained, required=True)
    recurrent = add_command(
        kinds, "recurrent", "RNN, GRU and LSTM of the same size, both directions and forward only"
    )
    add_config(recurrent)
    recurrent.add_argument(
        "--only", type=lambda text: text.split(","), metavar="A,B", help="of rnn, rnn2, gru, lstm, lstm2"
    )
    _add_probe(recurrent, required=False)


def _add_probe(parser: argparse.ArgumentParser, required: bool) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        required=required,
        metavar="FOLDER",
        help="a folder with a folder for each set" + ("" if required else " (default: train only)"),
    )
    parser.add_argument(
        "--out", type=Path, required=required, metavar="FOLDER", help="where the rows and results go"
    )
    parser.add_argument("--sets", type=lambda text: text.split(","), metavar="A,B,C", help="only these sets")

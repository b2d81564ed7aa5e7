"""The flags of `polyseme fit` and what its help page says; nothing that takes time to load."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.settings import add_flags

CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")

DESCRIPTION = """\
Learn a layer mix and a head from labelled examples, as POST /v1/tasks/NAME/fit does, and keep them
where `polyseme serve` finds them, or write them to a file. A report of examples that were held out
goes to standard error.
"""

EPILOG = """\
The form of a file is known by its ending:

  .jsonl    an example a line, as the HTTP API takes them
  .tsv      columns between tabs, nothing quoted
              classify   TEXT LABEL
              tag        WORD LABEL, and an empty line between sentences
              sense      TEXT START END LABEL, and perhaps WORD; START and END in code points
  .conllu   tag: the words of Universal Dependencies, and the column that --column names

Exit status: 0 when the task is kept; 2, with one line that says why, when a file, a setting or a bundle
is wrong or there is too little to learn from; 130 after Ctrl-C: then nothing is kept.
"""


def add_fit_flags(parser: argparse.ArgumentParser) -> None:
    """Add what `fit_command.fit_from_file` reads."""
    parser.add_argument("name", metavar="NAME", help="what requests will call the task")
    parser.add_argument("train", metavar="FILE", type=Path, help="the examples")
    parser.add_argument(
        "--kind",
        required=True,
        choices=("classify", "tag", "sense"),
        help="sentences with a label each, words with a label each, or marked words with their sense",
    )
    parser.add_argument(
        "--dev",
        metavar="FILE",
        type=Path,
        help="examples to judge on; without, a part of FILE is held out",
    )
    parser.add_argument(
        "--column",
        default="UPOS",
        choices=CONLLU_COLUMNS,
        help="of a .conllu file: where the labels are (default: UPOS)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="write the document that PUT /v1/tasks/NAME takes, instead of keeping the task",
    )
    add_flags(parser, "bundle", "threads", "tasks_path", "database_url")

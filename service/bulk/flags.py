"""The flags of `polyseme embed`, without what the command itself loads."""

from __future__ import annotations

import argparse
from typing import get_args

from service.bulk.options import (
    BAD_ROWS_FILE,
    EXIT_BAD_ROWS,
    SHARD_CHARACTERS,
    Engine,
    InputFormat,
    OutputFormat,
)
from service.choices import DType, Pool
from service.settings import add_flags

DESCRIPTION = """\
Embed a corpus: every row of the inputs is tokenised, embedded and written with its vectors. The work is cut
into files that are whole or not there at all. After a kill, Ctrl-C or a full disk the same command goes on
where it stopped; with other inputs or options it refuses to write into the same place.
"""

EPILOG = f"""\
The form of an input is known by its ending, before which .gz or .xz may stand, or by --input-format:

  .txt       a sentence a line
  .tsv       columns between tabs, nothing quoted, under a line of their names; --column names the text's, or
             is its number, from 1, in a file without such a line
  .jsonl     an object a line; its text is a string, or a list of words
  .conllu    the words of Universal Dependencies, a row for each sentence
  .parquet   a column of strings, or of lists of words

OUT is a folder of files part-000000.parquet or .npz and so on, in the order of the inputs. Parquet has the
input's columns (one that has the name of ours is kept as input_NAME), `file`, `line` (from 1), `tokens` with
their offsets in code points, `words` with --pool word, and `vectors`: a row for each token or word; `vector`
where a sentence has one. With --layer all these are vectors_0, vectors_1 and so on. An .npz has the arrays of
the service's reply, and `lines`.

OUT whose name ends with .hdf5 or .h5 is one file in the layout of AllenNLP's `elmo` command: under "0", "1"
and so on, the rows of all inputs in order, float32 (words, dimension), or (layers, words, dimension) with
--layer all; "sentence_to_index" says in JSON which is which. As there, text is words between white space.

Rows that cannot be embedded (an empty line, no UTF-8, no JSON, too long) are left out, told with file and
line, and listed in {BAD_ROWS_FILE} in OUT (for .hdf5 beside it).

Exit status: 0 when every row is embedded; {EXIT_BAD_ROWS} when some rows were bad and all others are
embedded; 2, with one line that says why, when a flag, an input, a bundle or OUT is wrong, or a file cannot be
written; 130 after Ctrl-C or SIGTERM. What is finished stays.
"""


def add_embed(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command, with what `options.read_options` reads."""
    parser = commands.add_parser(
        "embed",
        help="embed a corpus: text, TSV, JSONL, CoNLL-U or Parquet into Parquet, npz or HDF5",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="a file; - is standard input")
    parser.add_argument("out", metavar="OUT", help="the folder to write, or a file that ends with .hdf5")
    parser.add_argument(
        "--input-format",
        choices=get_args(InputFormat),
        help="form of all inputs, instead of by their endings; needed for standard input",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="column of the text (default: text, or words where there is none; of a .tsv text); .txt and "
        ".conllu have none",
    )
    parser.add_argument(
        "--pretokenized",
        action="store_true",
        help="texts are words between white space: each gets tokens of its own, and offsets count within it",
    )
    parser.add_argument(
        "--format",
        choices=get_args(OutputFormat),
        help="of OUT (default: hdf5 or npz when its name ends so, else parquet)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--layer",
        metavar="LAYER",
        help="average (default) or all of the layers, top, or a number from 0, the token without its context",
    )
    which.add_argument("--task", metavar="NAME", help="the layers mixed as was learned for this task")
    parser.add_argument(
        "--pool",
        choices=get_args(Pool),
        help="what gets a vector (default: token; for hdf5 word). sentence is the mean of its tokens",
    )
    parser.add_argument("--normalize", action="store_true", help="scale every vector to length 1")
    parser.add_argument(
        "--dtype", choices=get_args(DType), default="float32", help="of the vectors (default: float32)"
    )
    parser.add_argument(
        "--forget-sentences",
        action="store_true",
        help="hdf5: leave sentence_to_index out, which holds all text in memory once",
    )
    parser.add_argument(
        "--max-characters",
        metavar="N",
        help="most characters in one row; a longer one is bad, never cut "
        "[POLYSEME_MAX_CHARACTERS, default 200000]",
    )
    parser.add_argument(
        "--shard-characters",
        metavar="N",
        type=int,
        default=SHARD_CHARACTERS,
        help=f"characters of text in one file of OUT, about (default: {SHARD_CHARACTERS}). Raising it: fewer "
        "and larger files. Lowering it: less is done again after a kill, and less memory for npz "
        "and hdf5, which hold a file's vectors until it is written. Much beside the text (64 MB) ends a "
        "file, too",
    )
    parser.add_argument(
        "--engine",
        choices=get_args(Engine),
        default="local",
        help="where to compute (default: local, this process). ray: on a cluster, whose nodes all see OUT "
        "and the bundle under the same path; needs the extra cluster",
    )
    parser.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="of a running Ray cluster, or auto (default: what RAY_ADDRESS says, else a cluster of this "
        "machine)",
    )
    parser.add_argument(
        "--ray-workers",
        metavar="N",
        type=int,
        help="most files that are made at the same time, each with --threads CPUs of the cluster (default 1) "
        "and a model of its own (default: as many as the cluster has CPUs for)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print what was done as a JSON object, at the end"
    )
    add_flags(parser, "bundle", "threads", "precision", "tasks_path", "database_url")

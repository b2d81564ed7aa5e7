"""The options of `polyseme-train import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.help import Commands, add_command


def add_import(commands: Commands) -> None:
    parser = add_command(commands, "import", "make a bundle of a published ELMo checkpoint")
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    allennlp = add_command(
        formats, "allennlp", "from options.json and weights.hdf5, as bilm-tf writes and AllenNLP reads them"
    )
    allennlp.add_argument("options", type=Path, metavar="OPTIONS.json", help="what the network is")
    allennlp.add_argument("weights", type=Path, metavar="WEIGHTS.hdf5", help="its weights")
    _add_common(allennlp)
    manylangs = add_command(formats, "manylangs", "from a model's folder of ELMoForManyLangs")
    manylangs.add_argument("folder", type=Path, metavar="DIR", help="where its config.json is")
    _add_common(manylangs)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="import_checkpoint")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the bundle's folder; an older bundle there is replaced"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what requests call the model (default: the folder's name)"
    )
    parser.add_argument(
        "--language",
        action="append",
        default=[],
        dest="languages",
        metavar="LANGUAGE",
        help="that the model was trained on, such as en; may be repeated",
    )
    parser.add_argument(
        "--licence",
        metavar="TEXT",
        default="unknown",
        help="of the weights, for the model card (default: unknown)",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "float16"],
        default="float32",
        help="of the stored weights: float16 halves the bundle and moves the vectors; by how much is "
        "measured and kept in the manifest (default: float32)",
    )
    parser.add_argument(
        "--sentences",
        type=Path,
        metavar="FILE",
        help="text to measure that on, UTF-8, a sentence a line (default: a few in seven languages)",
    )

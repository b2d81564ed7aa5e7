"""The options of `polyseme-train import`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_import(parser: argparse.ArgumentParser) -> None:
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    allennlp = formats.add_parser(
        "allennlp", help="options.json and weights.hdf5, as bilm-tf writes and AllenNLP reads them"
    )
    allennlp.add_argument("options", type=Path, metavar="OPTIONS.json")
    allennlp.add_argument("weights", type=Path, metavar="WEIGHTS.hdf5")
    _add_common(allennlp)
    manylangs = formats.add_parser("manylangs", help="a model's folder of ELMoForManyLangs")
    manylangs.add_argument("folder", type=Path, metavar="DIR")
    _add_common(manylangs)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command="import_checkpoint")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="the bundle's folder; an older bundle there is replaced"
    )
    parser.add_argument("--name", help="what requests call the model (default: the folder's name)")
    parser.add_argument(
        "--language",
        action="append",
        default=[],
        dest="languages",
        metavar="LANGUAGE",
        help="that the model was trained on, such as en; may be repeated",
    )
    parser.add_argument(
        "--licence", default="unknown", help="of the weights, for the model card (default: unknown)"
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

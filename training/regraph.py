"""A bundle's graphs written again from its weights, which stay as they are, byte by byte.

For when what is written into a graph has changed and the model has not:
`python -m training.regraph model/pretrained/enko`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model.bundle import Bundle, write_bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, INT8_CONTEXT_ENCODER_FILE, TOKENIZER_FILE, WEIGHTS_FILE
from model.graph import build_graphs
from model.tokenizer import SentencePieceTokenizer
from model.weights import read_header
from training.corpus import CharacterTable
from training.export import check_runtimes, load_model
from training.int8 import token_ranges

EXIT_REFUSED = 2


def regraph(folder: Path) -> Bundle:
    """Replace a bundle by one with new graphs, in one step, and return it.

    Raises BundleError when there is none, ValueError when it was imported, or when torch and ONNX Runtime
    differ: it stays as it was.
    """
    bundle = Bundle.open(folder)
    if not bundle.manifest.architecture.has_softmax:
        raise ValueError(
            f"{folder}: expected a model that was trained here, found one that was imported: there is no "
            "network in torch to compare new graphs with; import it again with polyseme-train import"
        )
    files: dict[str, bytes | Path] = {name: folder / name for name in bundle.manifest.files}
    ranges_D = None
    if INT8_CONTEXT_ENCODER_FILE in bundle.manifest.files:
        alphabet, tokenizer = (
            Alphabet.load(folder / CHARACTERS_FILE),
            SentencePieceTokenizer(folder / TOKENIZER_FILE),
        )
        ranges_D = token_ranges(load_model(bundle), CharacterTable(alphabet, tokenizer, []))
    files |= build_graphs(bundle.manifest.architecture, read_header(folder / WEIGHTS_FILE), ranges_D)
    return write_bundle(
        folder, replace(bundle.manifest, files={}), files, check=lambda written: check_runtimes(written, [])
    )


def main(folders: Sequence[str]) -> int:
    """Do so for every bundle, up to the first that cannot be, and return the exit status."""
    for folder in folders:
        try:
            regraph(Path(folder))
        except (ValueError, OSError) as error:
            print(f"regraph: {error}", file=sys.stderr)
            return EXIT_REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

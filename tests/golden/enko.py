"""The shipped model's vectors for a few sentences, kept so that a change of code cannot change them unseen.

`python -m tests.golden.enko` writes enko.npz again, which a new model needs and nothing else should.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.characters import Alphabet
from model.files import WEIGHTS_FILE
from model.runtime import Runtime
from model.tokenizer import SentencePieceTokenizer

BUNDLE = Path(__file__).resolve().parents[2] / "model" / "pretrained" / "enko"
GOLDEN = Path(__file__).with_name("enko.npz")

SENTENCES = {"first": "강에서 배를 타고 건너편으로 갔다.", "second": "The bank lent him 배 龘, 2024!"}


def layers(sentence: str) -> npt.NDArray[np.float32]:
    """Return float32 (L, T, 2H) of a sentence alone, boundaries included."""
    bundle = Bundle.open(BUNDLE)
    runtime = Runtime(bundle, num_threads=1)
    tokenizer = SentencePieceTokenizer(BUNDLE / "tokenizer.model")
    alphabet = Alphabet.load(BUNDLE / "characters.json")
    boundary = runtime.token_vectors(alphabet.boundary_row()[None])
    tokens = runtime.token_vectors(alphabet.encode(tokenizer.tokenize(sentence).surfaces))
    x_T1D = np.concatenate([boundary, tokens, boundary])[:, None]
    return runtime.layers(x_T1D, np.array([len(x_T1D)], dtype=np.int32))[:, :, 0]


def main() -> None:
    first, second = (layers(sentence).astype(np.float16) for sentence in SENTENCES.values())
    sha256 = np.array(Bundle.open(BUNDLE).manifest.files[WEIGHTS_FILE])
    np.savez_compressed(GOLDEN, sha256=sha256, first=first, second=second)


if __name__ == "__main__":
    main()

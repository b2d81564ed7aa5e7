"""The shipped model's vectors for a few sentences, kept so that a change of code cannot change them unseen.

`python -m tests.golden.enko` writes enko.npz again, which a new model needs and nothing else should.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.files import WEIGHTS_FILE
from model.reader import open_reader
from model.runtime import Runtime

BUNDLE = Path(__file__).resolve().parents[2] / "model" / "pretrained" / "enko"
GOLDEN = Path(__file__).with_name("enko.npz")

SENTENCES = {"first": "강에서 배를 타고 건너편으로 갔다.", "second": "The bank lent him 배 龘, 2024!"}


def layers(sentence: str) -> npt.NDArray[np.float32]:
    """Return float32 (L, T, 2H) of a sentence alone, boundaries included."""
    bundle = Bundle.open(BUNDLE)
    runtime, reader = Runtime(bundle, num_threads=1), open_reader(bundle)
    assert reader.words is not None
    surfaces = reader.tokenizer.tokenize(sentence).surfaces
    boundaries = runtime.token_vectors(reader.alphabet.boundary_rows(), reader.words.boundary_ids())
    tokens = runtime.token_vectors(reader.alphabet.encode(surfaces), reader.words.encode(surfaces))
    x_T1D = np.concatenate([boundaries[:1], tokens, boundaries[1:]])[:, None]
    return runtime.layers(x_T1D, np.array([len(x_T1D)], dtype=np.int32))[:, :, 0]


def main() -> None:
    first, second = (layers(sentence).astype(np.float16) for sentence in SENTENCES.values())
    sha256 = np.array(Bundle.open(BUNDLE).manifest.files[WEIGHTS_FILE])
    np.savez_compressed(GOLDEN, sha256=sha256, first=first, second=second)


if __name__ == "__main__":
    main()

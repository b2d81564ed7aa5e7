"""An imported bundle in ONNX Runtime, read as the service reads it: words in, layers out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.bundle import Bundle
from model.reader import open_reader
from model.runtime import Floats, Runtime


class ServedElmo:
    def __init__(self, bundle: Bundle, num_threads: int = 2) -> None:
        self.runtime = Runtime(bundle, num_threads)
        self._reader = open_reader(bundle)
        self.architecture = bundle.manifest.architecture

    def token_vectors(self, words: Sequence[str]) -> Floats:
        """Return (number of words + 2, D), with both boundaries."""
        begin_end, rows = self._reader.alphabet.boundary_rows(), self._reader.alphabet.encode(words)
        char_ids_NM = np.concatenate([begin_end[:1], rows, begin_end[1:]])
        if self._reader.words is None:
            return self.runtime.token_vectors(char_ids_NM)
        boundary_ids, word_ids = self._reader.words.boundary_ids(), self._reader.words.encode(words)
        return self.runtime.token_vectors(
            char_ids_NM, np.concatenate([boundary_ids[:1], word_ids, boundary_ids[1:]])
        )

    def batch(self, sentences: Sequence[Sequence[str]]) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Return token vectors (T, B, D), NaN beyond each sentence, and lengths (B)."""
        vectors = [self.token_vectors(words) for words in sentences]
        lengths_B = np.array([len(each) for each in vectors], dtype=np.int32)
        shape = (int(lengths_B.max()), len(vectors), self.architecture.hidden_dim)
        x_TBD = np.full(shape, np.nan, dtype=np.float32)
        for b, each in enumerate(vectors):
            x_TBD[: len(each), b] = each
        return x_TBD, lengths_B

    def layers(self, sentences: Sequence[Sequence[str]]) -> list[Floats]:
        """Return (L, number of words, 2H) of each sentence, all run in one batch, without boundaries."""
        x_TBD, lengths_B = self.batch(sentences)
        state = self.runtime.first_state(len(sentences))
        layers_LTB2H, _ = self.runtime.layer_slices(x_TBD, x_TBD, lengths_B, state)
        assert layers_LTB2H.dtype == np.float32
        for b, length in enumerate(lengths_B):
            np.testing.assert_array_equal(layers_LTB2H[:, length:, b], 0)
        return [layers_LTB2H[:, 1 : length - 1, b] for b, length in enumerate(lengths_B)]

"""Static word vectors: fastText of the model's own text, alone and with their neighbours beside them.

Bojanowski et al. 2017 (arXiv:1607.04606): skip-gram with negative samples; a word's vector is the mean of its
own and those of its character n-grams, so that words never seen have vectors too.
Shapes: T words of a sentence, D vector size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from gensim.models import FastText
from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.fasttext import load_facebook_vectors, save_facebook_model
from tqdm import tqdm

from training.baselines.words import Lines, word_spans
from training.probes.source import FloatArray, SentenceLayers


@dataclass(frozen=True, slots=True)
class FastTextConfig:
    """n-grams from 2 characters on: a Korean word of two syllables and a particle has stem and particle so.

    At most 400,000 words and a million n-grams bound the memory to about 3 GB at 300 numbers each.
    """

    dim: int = 300
    window: int = 5
    num_negatives: int = 5
    min_count: int = 5
    max_vocabulary: int = 400_000
    shortest_ngram: int = 2
    longest_ngram: int = 5
    num_ngrams: int = 1_000_000
    subsampling: float = 1e-4
    num_epochs: int = 5
    seed: int = 1


def train_fasttext(
    files: Sequence[Path],
    path: Path,
    config: FastTextConfig,
    *,
    max_words: int | None = None,
    show_progress: bool = True,
) -> None:
    """Train on text files and write `path` in fastText's own binary format (whole or not at all).

    max_words: of the text, spread evenly over it; None: all. One thread trains: with several, no two runs are
    equal. Raises ValueError when no word is frequent enough.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        # From a file gensim reads without Python: nearly twice as fast as from an iterator.
        corpus = Path(folder) / "words.txt"
        with corpus.open("w", encoding="utf-8") as sink:
            lines = tqdm(
                Lines(files, max_words),
                "fastText: words",
                unit=" lines",
                disable=None if show_progress else True,
            )
            sink.writelines(" ".join(words) + "\n" for words in lines)
        model = _train(corpus, config, show_progress)
        partial = Path(folder) / path.name
        save_facebook_model(model, str(partial))
        partial.rename(path)


def _train(corpus: Path, config: FastTextConfig, show_progress: bool) -> FastText:
    model = FastText(
        vector_size=config.dim,
        window=config.window,
        negative=config.num_negatives,
        min_count=config.min_count,
        max_final_vocab=config.max_vocabulary,
        min_n=config.shortest_ngram,
        max_n=config.longest_ngram,
        bucket=config.num_ngrams,
        sample=config.subsampling,
        seed=config.seed,
        sg=1,
        workers=1,
    )
    model.build_vocab(corpus_file=str(corpus))
    if not len(model.wv):
        raise ValueError(f"expected a word that stands {config.min_count} times in the text, found none")
    with tqdm(
        total=config.num_epochs, desc="fastText: epochs", disable=None if show_progress else True
    ) as bar:
        model.train(
            corpus_file=str(corpus),
            total_examples=model.corpus_count,
            total_words=model.corpus_total_words,
            epochs=config.num_epochs,
            callbacks=[_Epochs(bar)],
        )
    return model


class _Epochs(CallbackAny2Vec):  # type: ignore[misc]  # gensim has no types
    """Moves a bar at the end of every epoch."""

    def __init__(self, bar: tqdm[None]) -> None:
        self._bar = bar

    def on_epoch_end(self, model: FastText) -> None:
        self._bar.update()


class WordVectors(Protocol):
    """What is needed of word vectors; gensim's are some."""

    @property
    def vector_size(self) -> int: ...

    def get_vector(self, word: str, /) -> FloatArray:
        """float32 (D,); also of a word never seen."""
        ...


def load_fasttext(path: Path) -> WordVectors:
    """Raises ValueError when there is no such file, or it is no fastText model."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        vectors: WordVectors = load_facebook_vectors(str(path))
    except (NotImplementedError, AssertionError, EOFError) as error:
        raise ValueError(f"{path}: expected a fastText model (.bin): {error}") from error
    return vectors


class StaticSource:
    """A `LayerSource` of one layer: each word's vector, whatever stands around it."""

    num_vector_layers = 1

    def __init__(self, vectors: WordVectors) -> None:
        self._vectors = vectors

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            spans = word_spans(sentence)
            vectors_TD = np.zeros((len(spans), self._vectors.vector_size), dtype=np.float32)
            for t, (start, end) in enumerate(spans):
                vectors_TD[t] = self._vectors.get_vector(sentence[start:end])
            starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
            yield SentenceLayers(starts, ends, self._beside(vectors_TD)[None])

    def _beside(self, vectors_TD: FloatArray) -> FloatArray:
        return vectors_TD


MEAN_OF = 5


class WindowSource(StaticSource):
    """The same with context that needs no model of it: beside a word's vector stand those of the words before
    and after it, and the mean of five on each side; zeros where the sentence ends."""

    def _beside(self, vectors_TD: FloatArray) -> FloatArray:
        return with_neighbours(vectors_TD)


def with_neighbours(vectors_TD: FloatArray) -> FloatArray:
    """Return float32 (T, 5 D): the word, the one before, the one after, the mean of the (at most) five before
    and that of the five after."""
    num_words, dim = vectors_TD.shape
    beside_T5D = np.zeros((num_words, 5, dim), dtype=np.float32)
    beside_T5D[:, 0] = vectors_TD
    beside_T5D[1:, 1] = vectors_TD[:-1]
    beside_T5D[:-1, 2] = vectors_TD[1:]
    for t in range(num_words):
        for part, near_D in ((3, vectors_TD[max(0, t - MEAN_OF) : t]), (4, vectors_TD[t + 1 :][:MEAN_OF])):
            if len(near_D):
                beside_T5D[t, part] = near_D.mean(axis=0)
    return beside_T5D.reshape(num_words, 5 * dim)

"""Rows in, their vectors out, in order: the service's own engine without its queue, because all is here.

Rows are gathered into windows of tokens. In a window the shortest run first, those of like length together,
and a document longer than a slice runs in slices, as it does in the service; what is pooled to fewer rows is
pooled at once. What is held is a window's vectors, and one document beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from model.tokenizer import Tokenized
from service.bulk.rows import Row
from service.choices import DType, Pool
from service.engine.backend import Backend, Floats
from service.engine.engine import BadVectors, Engine
from service.engine.observer import Unobserved
from service.engine.outcomes import Outcome, Unfinished
from service.engine.packing import prefix
from service.engine.sentences import Embedding
from service.errors import ServiceError
from service.mixes import Mix
from service.replies.answers import Answer, in_dtype
from service.replies.pooling import Encoded, normalized, pool
from service.settings import Settings

WINDOW_TOKENS = 16_384
"""67 MB of vectors of 1,024 dimensions, 201 MB of three layers."""

BATCH_TOKENS = 4096
"""Of one run, padding counted."""

DROPPED = "expected text, got only characters that the tokenizer drops"
NO_VECTORS = "the model gave no usable vectors for this row"


@dataclass(frozen=True)
class Asked:
    """What is wanted of every row."""

    mix: Mix | None  # None: every layer by itself
    pool: Pool
    normalize: bool
    dtype: DType


@dataclass(frozen=True, slots=True)
class Window:
    """Neighbouring rows of a shard."""

    first: int  # its first row's number in the shard
    rows: Sequence[Row]
    outcomes: Sequence[Answer | str]  # of each row: its vectors, or why there are none
    num_tokens: int  # that were read


class Encoder:
    """One model. Not thread-safe."""

    def __init__(self, backend: Backend, asked: Asked) -> None:
        self._tokenizer = backend.tokenizer
        self._engine = Engine(backend, Settings.cache_tokens, Unobserved())
        self._asked = asked

    def windows(self, rows: Sequence[Row]) -> Iterator[Window]:
        """Yield all rows with their outcomes."""
        first = 0
        while first < len(rows):
            found: list[Tokenized | str] = []
            num_tokens = 0
            for row in rows[first:]:
                tokenized = self._tokenize(row)
                found.append(tokenized)
                if isinstance(tokenized, Tokenized):
                    num_tokens += len(tokenized)
                if num_tokens >= WINDOW_TOKENS:
                    break
            of_window = rows[first : first + len(found)]
            yield Window(first, of_window, self._answers(of_window, found), num_tokens)
            first += len(found)

    def _tokenize(self, row: Row) -> Tokenized | str:
        """Return its tokens, or why it has none."""
        if row.error is not None:
            return row.error
        if isinstance(row.text, str):
            tokenized = self._tokenizer.tokenize(row.text)
        else:
            tokenized = self._tokenizer.tokenize_words(row.text)
        return tokenized if any(tokenized.visible) else DROPPED

    def _answers(self, rows: Sequence[Row], found: Sequence[Tokenized | str]) -> list[Answer | str]:
        outcomes: list[Answer | str] = [each if isinstance(each, str) else NO_VECTORS for each in found]
        sentences = [
            (i, Embedding(each.surfaces, self._asked.mix, Settings.slice_tokens))
            for i, each in enumerate(found)
            if isinstance(each, Tokenized)
        ]
        while sentences:
            sentences.sort(key=lambda pair: pair[1].next_tokens)
            unfinished = []
            while sentences:
                size = prefix([sentence.next_tokens for _, sentence in sentences], BATCH_TOKENS)
                batch, sentences = sentences[:size], sentences[size:]
                for (i, sentence), outcome in zip(batch, self._run([each for _, each in batch]), strict=True):
                    tokenized = found[i]
                    if isinstance(outcome, Unfinished):
                        unfinished.append((i, sentence))
                    elif not isinstance(outcome, Exception) and isinstance(tokenized, Tokenized):
                        outcomes[i] = self._answer(rows[i], tokenized, outcome)
            sentences = unfinished
        return outcomes

    def _run(self, batch: Sequence[Embedding]) -> list[Outcome[Floats]]:
        """Run the next slice of each. What has a token without usable vectors fails alone."""
        outcomes: dict[int, Outcome[Floats]] = {}
        try:
            outcomes.update(self._engine(batch))
        except BadVectors as error:
            if len(batch) == 1:
                return [error]
            middle = len(batch) // 2
            return self._run(batch[:middle]) + self._run(batch[middle:])
        return [outcomes[i] for i in range(len(batch))]

    def _answer(self, row: Row, tokenized: Tokenized, vectors: Floats) -> Answer | str:
        encoded = Encoded.of(row.text, tokenized, vectors)
        rows, marks = pool(encoded, self._asked.pool)
        try:
            return Answer(
                encoded.tokens,
                in_dtype(normalized(rows) if self._asked.normalize else rows, self._asked.dtype),
                marks,
            )
        except ServiceError as error:
            return error.message

"""Rows in, their vectors out, in order: the service's own engine without its queue, because all is here.

Rows are gathered into windows of tokens. A window is cut into batches of rows of like length, and each batch
runs on one of several threads from its first slice to its last: no thread waits for another within a
batch, and one that writes files takes its time from all of them alike. What is pooled to fewer rows is pooled
at once. So that no thread is idle while a window is completed, those after it are begun, over the ends of
shards. What is held is their vectors: of the oldest window, and behind it of at most a window, or a batch
for each thread if that is more, and the one that reached this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from model.tokenizer import Tokenized
from service.bulk.jobs import Job
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

BATCH_TOKENS = 2048
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

    job: Job
    first: int  # its first row's number in the shard
    rows: Sequence[Row]
    outcomes: Sequence[Answer | str]  # of each row: its vectors, or why there are none
    num_tokens: int  # that were read

    @property
    def ends_shard(self) -> bool:
        return self.first + len(self.rows) == len(self.job.rows)


class Encoder:
    """One model. Not thread-safe."""

    def __init__(self, backend: Backend, asked: Asked, num_threads: int) -> None:
        """backend: computes with one thread a call; num_threads: how many calls there are at once."""
        self._tokenizer = backend.tokenizer
        self._asked = asked
        self._num_threads = num_threads
        self._engine = Engine(backend, Settings.cache_tokens, Unobserved())

    def windows(self, jobs: Iterable[Job]) -> Generator[Window, None, None]:
        """Yield all rows with their outcomes, in order. Raises what `jobs` and the model raise; what `jobs`
        raises after the rows that came before it."""
        threads = _Threads(self._num_threads)
        begun: deque[_Begun] = deque()
        try:
            for job in _and_what_is_raised(jobs):
                if isinstance(job, Exception):
                    while begun:
                        yield begun.popleft().finished()
                    raise job
                first = 0
                while first < len(job.rows):
                    begun.append(self._begin(threads, job, first))
                    first += len(begun[-1].rows)
                    while self._are_enough(begun):
                        yield begun.popleft().finished()
            while begun:
                yield begun.popleft().finished()
        finally:
            threads.close()

    def _are_enough(self, begun: Sequence[_Begun]) -> bool:
        """Whether behind the oldest window there is work for every thread, or as much as may be held."""
        behind = list(begun)[1:]
        num_waiting = sum(not batch.done() for window in behind for batch in window.batches)
        num_tokens = sum(window.num_tokens for window in behind)
        return (
            num_waiting >= self._num_threads
            or num_tokens >= max(WINDOW_TOKENS, self._num_threads * BATCH_TOKENS)
            or len(behind) >= self._num_threads
        )

    def _begin(self, threads: _Threads, job: Job, first: int) -> _Begun:
        found: list[Tokenized | str] = []
        num_tokens = 0
        for row in job.rows[first:]:
            tokenized = self._tokenize(row)
            found.append(tokenized)
            if isinstance(tokenized, Tokenized):
                num_tokens += len(tokenized)
            if num_tokens >= WINDOW_TOKENS:
                break
        rows = job.rows[first : first + len(found)]
        sentences = [
            _Sentence(i, rows[i], each, Embedding(each.surfaces, self._asked.mix, Settings.slice_tokens))
            for i, each in enumerate(found)
            if isinstance(each, Tokenized)
        ]
        batches = [
            threads.pool.submit(self._answers, batch, threads.stopping) for batch in self._batches(sentences)
        ]
        return _Begun(job, first, rows, found, num_tokens, batches)

    def _tokenize(self, row: Row) -> Tokenized | str:
        """Return its tokens, or why it has none."""
        if row.error is not None:
            return row.error
        if isinstance(row.text, str):
            tokenized = self._tokenizer.tokenize(row.text)
        else:
            tokenized = self._tokenizer.tokenize_words(row.text)
        return tokenized if any(tokenized.visible) else DROPPED

    def _batches(self, sentences: Sequence[_Sentence]) -> Iterator[list[_Sentence]]:
        """Yield them by length. Documents are spread over the threads, for a batch of them takes long."""
        by_length = sorted(sentences, key=lambda sentence: sentence.embedding.num_tokens)
        whole = [sentence for sentence in by_length if sentence.embedding.is_whole]
        documents = by_length[len(whole) :]
        for left, most in ((whole, len(whole)), (documents, max(1, len(documents) // self._num_threads))):
            while left:
                size = prefix([sentence.embedding.next_tokens for sentence in left[:most]], BATCH_TOKENS)
                yield left[:size]
                left = left[size:]

    def _answers(self, batch: Sequence[_Sentence], stopping: Event) -> list[tuple[int, Answer | str]]:
        """Run a batch to its end, or until nobody waits for it; return each sentence's place in its window,
        and its answer."""
        answers: list[tuple[int, Answer | str]] = []
        while batch and not stopping.is_set():
            unfinished = []
            outcomes = _run(self._engine, [sentence.embedding for sentence in batch])
            for sentence, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Unfinished):
                    unfinished.append(sentence)
                elif isinstance(outcome, Exception):
                    answers.append((sentence.index, NO_VECTORS))
                else:
                    answers.append((sentence.index, self._answer(sentence, outcome)))
            batch = unfinished
        return answers

    def _answer(self, sentence: _Sentence, vectors: Floats) -> Answer | str:
        encoded = Encoded.of(sentence.row.text, sentence.tokenized, vectors)
        rows, marks = pool(encoded, self._asked.pool)
        try:
            return Answer(
                encoded.tokens,
                in_dtype(normalized(rows) if self._asked.normalize else rows, self._asked.dtype),
                marks,
            )
        except ServiceError as error:
            return error.message


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A row on its way through the engine."""

    index: int  # in its window
    row: Row
    tokenized: Tokenized
    embedding: Embedding


@dataclass(frozen=True, slots=True)
class _Begun:
    """A window whose batches run or wait."""

    job: Job
    first: int
    rows: Sequence[Row]
    found: Sequence[Tokenized | str]  # of each row: its tokens, or why it has none
    num_tokens: int
    batches: Sequence[Future[list[tuple[int, Answer | str]]]]

    def finished(self) -> Window:
        """Wait for all of it. Raises what the model has raised."""
        answers = {i: answer for batch in self.batches for i, answer in batch.result()}
        outcomes = [each if isinstance(each, str) else answers[i] for i, each in enumerate(self.found)]
        return Window(self.job, self.first, self.rows, outcomes, self.num_tokens)


class _Threads:
    """What computes batches."""

    def __init__(self, number: int) -> None:
        self.pool = ThreadPoolExecutor(number, thread_name_prefix="polyseme-encoder")
        self.stopping = Event()

    def close(self) -> None:
        """Drop what waits, and wait for the slices that run."""
        self.stopping.set()
        self.pool.shutdown(cancel_futures=True)


def _and_what_is_raised(jobs: Iterable[Job]) -> Iterator[Job | Exception]:
    try:
        yield from jobs
    except Exception as error:
        yield error


def _run(engine: Engine, batch: Sequence[Embedding]) -> list[Outcome[Floats]]:
    """Run the next slice of each. What has a token without usable vectors fails alone."""
    outcomes: dict[int, Outcome[Floats]] = {}
    try:
        outcomes.update(engine(batch))
    except BadVectors as error:
        if len(batch) == 1:
            return [error]
        middle = len(batch) // 2
        return _run(engine, batch[:middle]) + _run(engine, batch[middle:])
    return [outcomes[i] for i in range(len(batch))]

"""Sentences in, vectors and log-probabilities out: the path of a request through tokenizer, queue and engine.

Shape letters: T tokens of a sentence, D dimension, V vocabulary; a leading axis of layers when all are asked
for (...).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from model.tokenizer import Tokenized
from service.body import show
from service.engine.backend import Backend, Floats
from service.engine.batcher import Batcher
from service.engine.engine import Engine
from service.engine.observer import EngineObserver
from service.engine.sentences import (
    NUM_BOUNDARIES,
    Blank,
    Distributions,
    Embedding,
    Scores,
    Scoring,
    Sentence,
)
from service.engine.text_lanes import TextLanes
from service.errors import ErrorType, ServiceError
from service.mixes import Mix
from service.schemas import Text
from service.settings import Settings
from service.work import Work, deadline_exceeded

Result = TypeVar("Result")

FLOAT_BYTES = 4
SCORES_BYTES = 2 * FLOAT_BYTES
"""Of a token, or of a piece of the vocabulary at a blank: one log-probability by each direction."""


class Embedder:
    """One model with its queue and its engine's thread.

    Every method may raise ServiceError; `inputs` is where its errors are, unless the caller says otherwise.
    """

    def __init__(
        self, backend: Backend, settings: Settings, texts: TextLanes, observer: EngineObserver
    ) -> None:
        """texts: where a request is tokenised, so that the event loop only waits."""
        self.name = backend.name
        self.sha256 = backend.sha256
        self.dimension = backend.dimension
        self.num_layers = backend.num_layers
        self.vocabulary = backend.tokenizer.pieces()  # V, in the order of their ids; empty without a softmax
        self.has_softmax = backend.has_softmax
        self.asked_s = float("-inf")  # time.monotonic() when work was last queued that is not background
        self._tokenizer = backend.tokenizer
        self._texts = texts
        self._slice_tokens = settings.slice_tokens
        # A new engine after one was lost has a cache of its own, because the lost one may still write to its.
        # The network is the same: its sessions keep nothing between runs and may run side by side, and the
        # bundle's files, which a new one would have to read, may be gone.
        self._batcher: Batcher[Sentence[Any], Any] = Batcher(
            lambda: Engine(backend, settings.cache_tokens, observer),
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
            max_age_s=settings.batch_age_ms / 1000,
            stall_s=settings.stall_ms / 1000,
            hang_s=settings.hang_ms / 1000,
            name=backend.name,
            observer=observer,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the engine takes work and gets on with it."""
        return self._batcher.is_alive

    @property
    def queue_depth(self) -> int:
        """Tokens that wait for the engine."""
        return self._batcher.queue_depth

    def check_softmax(self, where: str | None = None) -> None:
        """Raise ServiceError when the model has no softmax, and so no vocabulary either."""
        if not self.has_softmax:
            message = (
                f"expected a model with a softmax, got {show(self.name)}, which was imported from files that "
                "carry none: it has no vocabulary, and cannot say how likely a token is"
            )
            raise ServiceError(ErrorType.no_softmax, message, where)

    async def tokenize(self, inputs: Sequence[Text], request: Work, where: str = "inputs") -> list[Tokenized]:
        """Return every input's tokens, without the engine."""
        return await self._on_a_lane(
            request, _num_characters(inputs), lambda: self._tokenize(inputs, request, where)
        )

    async def encode(
        self,
        inputs: Sequence[Text],
        mix: Mix | None,
        request: Work,
        where: str = "inputs",
        check: Callable[[Sequence[Tokenized]], None] | None = None,
    ) -> list[tuple[Tokenized, Floats]]:
        """Return every input's tokens and their vectors (T, D), or (L, T, D) without a mix.

        check: raises ServiceError when the tokens of all inputs are not to go to the engine.
        """

        def sentence(tokens: Tokenized) -> Sentence[Floats]:
            return Embedding(tokens.surfaces, mix, self._slice_tokens)

        position_bytes = FLOAT_BYTES * self.dimension * (self.num_layers if mix is None else 1)
        return await self._from_text(inputs, sentence, position_bytes, request, where, check)

    async def score(
        self,
        inputs: Sequence[Text],
        request: Work,
        where: str = "inputs",
        check: Callable[[Sequence[Tokenized]], None] | None = None,
    ) -> list[tuple[Tokenized, Scores]]:
        """Return every input's tokens and the log-probability of each, by both directions.

        check: as of `encode`.
        """
        return await self._from_text(inputs, self._scoring, SCORES_BYTES, request, where, check)

    async def score_tokens(
        self, sequences: Sequence[Tokenized], request: Work, where: str = "inputs"
    ) -> list[Scores]:
        """Return the scores of sentences that are tokenised already; one without any token is allowed."""
        request.held.reserve(SCORES_BYTES * _num_positions(sequences))
        sentences = [self._scoring(tokens) for tokens in sequences]
        return await self._run(sentences, request, where)

    async def blank_distribution(
        self, left: Tokenized, right: Tokenized, request: Work, where: str = "text"
    ) -> Distributions:
        """Return the log-probabilities (V) of all that may stand between two pieces of text."""
        request.held.reserve(SCORES_BYTES * len(self.vocabulary))
        blank = Blank(left, right, self.num_layers, len(self.vocabulary), self._slice_tokens)
        (distributions,) = await self._run([blank], request, where)
        return distributions

    def close(self) -> None:
        """Finish what waits and end the engine's thread."""
        self._batcher.close()

    def _scoring(self, tokens: Tokenized) -> Sentence[Scores]:
        return Scoring(tokens, self.num_layers, self._slice_tokens)

    async def _from_text(
        self,
        inputs: Sequence[Text],
        sentence: Callable[[Tokenized], Sentence[Result]],
        position_bytes: int,
        work: Work,
        where: str,
        check: Callable[[Sequence[Tokenized]], None] | None = None,
    ) -> list[tuple[Tokenized, Result]]:
        """Tokenize, queue, and wait for the results, which have so many bytes for each position."""

        def submit() -> tuple[list[Tokenized], list[Future[Result]]]:
            tokenized = self._tokenize(inputs, work, where)
            if check is not None:
                check(tokenized)
            work.held.reserve(position_bytes * _num_positions(tokenized))
            return tokenized, self._submit(list(map(sentence, tokenized)), work)

        tokenized, futures = await self._on_a_lane(work, _num_characters(inputs), submit)
        results: list[Result] = await self._results(futures, work, where)
        return list(zip(tokenized, results, strict=True))

    def _tokenize(self, inputs: Sequence[Text], work: Work, where: str) -> list[Tokenized]:
        started_s = time.monotonic()
        tokenized = [self._tokenize_one(text, f"{where}[{i}]") for i, text in enumerate(inputs)]
        work.timings.tokenize_s += time.monotonic() - started_s
        return tokenized

    def _tokenize_one(self, text: Text, where: str) -> Tokenized:
        if isinstance(text, str):
            tokenized = self._tokenizer.tokenize(text)
        else:
            tokenized = self._tokenizer.tokenize_words(text)
        if not any(tokenized.visible):
            message = "expected text, got only characters that the tokenizer drops"
            raise ServiceError(ErrorType.invalid_request, message, where)
        return tokenized

    async def _run(self, sentences: Sequence[Sentence[Result]], work: Work, where: str) -> list[Result]:
        # Tokenised already: there is nothing to do but to queue them.
        futures = await self._on_a_lane(work, 0, lambda: self._submit(sentences, work))
        return await self._results(futures, work, where)

    def _submit(self, sentences: Sequence[Sentence[Result]], work: Work) -> list[Future[Result]]:
        if not work.is_background:
            self.asked_s = time.monotonic()
        futures: list[Future[Result]] = self._batcher.submit(sentences, work)
        work.model = self.name
        work.num_tokens += sum(sentence.num_tokens for sentence in sentences)
        return futures

    async def _on_a_lane(self, work: Work, num_characters: int, call: Callable[[], Result]) -> Result:
        result: Result = await _wanted(asyncio.wrap_future(self._texts.submit(num_characters, call)), work)
        return result

    async def _results(self, futures: Sequence[Future[Any]], work: Work, where: str) -> list[Any]:
        if futures:
            await _wanted(_all_done(futures), work)
        work.releases(futures)  # it lives on until the reply has been sent
        return [_result(future, f"{where}[{i}]") for i, future in enumerate(futures)]


def _num_characters(inputs: Sequence[Text]) -> int:
    return sum(len(text) if isinstance(text, str) else sum(map(len, text)) for text in inputs)


def _num_positions(tokenized: Sequence[Tokenized]) -> int:
    return sum(len(tokens) + NUM_BOUNDARIES for tokens in tokenized)


async def _wanted(waiting: Any, work: Work) -> Any:
    """Wait within the work's deadline. When the waiting ends early, for whatever reason, so does the work."""
    try:
        async with asyncio.timeout(work.remaining_s):
            return await waiting
    except TimeoutError as error:
        work.cancel()
        raise deadline_exceeded() from error
    except asyncio.CancelledError:
        work.cancel()
        raise


async def _all_done(futures: Sequence[Future[Any]]) -> None:
    """Wait until every future is done. The event loop is woken once, not once for each."""
    assert futures, "nothing would ever wake the waiting"
    loop = asyncio.get_running_loop()
    all_done = asyncio.Event()
    number = itertools.count(1)  # next() is atomic; callbacks come from this thread and the engine's

    def count(_: Future[Any]) -> None:
        if next(number) == len(futures):
            loop.call_soon_threadsafe(all_done.set)

    for future in futures:
        future.add_done_callback(count)
    await all_done.wait()


def _result(future: Future[Any], where: str) -> Any:
    if future.cancelled():  # with its work, by another call of the same request
        raise asyncio.CancelledError
    error = future.exception()
    if isinstance(error, ServiceError):
        raise error
    if error is not None:  # which the engine's thread has logged
        message = "the model gave no usable vectors for this input"
        raise ServiceError(ErrorType.engine_failed, message, where)
    return future.result()

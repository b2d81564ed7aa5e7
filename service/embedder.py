"""Sentences in, vectors out: the path of a request through tokenizer, queue and engine.

Shape letters: T tokens of a sentence, D dimension; a leading axis of layers when all are asked for (...).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from typing import Any

from model.tokenizer import Tokenized
from service.backend import Backend, Floats
from service.batcher import Batcher
from service.engine import Engine, Sentence
from service.errors import ErrorType, ServiceError
from service.mixes import Mix
from service.schemas import Text
from service.settings import Settings


class Embedder:
    """One model with its queue and its engine's thread."""

    def __init__(self, backend: Backend, settings: Settings, workers: Executor) -> None:
        """workers: where a request's own computing runs, so that the event loop only waits."""
        self.name = backend.name
        self.dimension = backend.dimension
        self.num_layers = backend.num_layers
        self._tokenizer = backend.tokenizer
        self._workers = workers
        self._batcher: Batcher[Sentence, Floats] = Batcher(
            Engine(backend, settings.cache_tokens),
            batch_tokens=settings.batch_tokens,
            queue_tokens=settings.queue_tokens,
            max_age_s=settings.batch_age_ms / 1000,
            name=backend.name,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the engine takes work."""
        return self._batcher.is_alive

    @property
    def queue_depth(self) -> int:
        """Tokens that wait for the engine."""
        return self._batcher.queue_depth

    async def encode(self, inputs: Sequence[Text], mix: Mix | None) -> list[tuple[Tokenized, Floats]]:
        """Return every input's tokens and their vectors (..., T, D). Raises ServiceError."""
        loop = asyncio.get_running_loop()
        tokenized, futures = await loop.run_in_executor(self._workers, self._submit, inputs, mix)
        await _all_done(futures)
        vectors = [_vectors(future, i) for i, future in enumerate(futures)]
        return list(zip(tokenized, vectors, strict=True))

    def close(self) -> None:
        """Finish what waits and end the engine's thread."""
        self._batcher.close()

    def _submit(
        self, inputs: Sequence[Text], mix: Mix | None
    ) -> tuple[list[Tokenized], list[Future[Floats]]]:
        tokenized = [self._tokenize(text, i) for i, text in enumerate(inputs)]
        return tokenized, self._batcher.submit([Sentence(tokens.surfaces, mix) for tokens in tokenized])

    def _tokenize(self, text: Text, i: int) -> Tokenized:
        if isinstance(text, str):
            tokenized = self._tokenizer.tokenize(text)
        else:
            tokenized = self._tokenizer.tokenize_words(text)
        if not any(tokenized.visible):
            message = "expected text, got only characters that the tokenizer drops"
            raise ServiceError(ErrorType.invalid_request, message, f"inputs[{i}]")
        return tokenized


async def _all_done(futures: Sequence[Future[Any]]) -> None:
    """Wait until every future is done. The event loop is woken once, not once for each.

    When the waiting itself is cancelled, so is all that has not begun.
    """
    assert futures, "nothing would ever wake the waiting"
    loop = asyncio.get_running_loop()
    all_done = asyncio.Event()
    number = itertools.count(1)  # next() is atomic; callbacks come from this thread and the engine's

    def count(_: Future[Any]) -> None:
        if next(number) == len(futures):
            loop.call_soon_threadsafe(all_done.set)

    for future in futures:
        future.add_done_callback(count)
    try:
        await all_done.wait()
    except asyncio.CancelledError:
        for future in futures:
            future.cancel()
        raise


def _vectors(future: Future[Floats], i: int) -> Floats:
    if future.exception() is not None:  # which the engine's thread has logged
        message = "the model gave no usable vectors for this input"
        raise ServiceError(ErrorType.engine_failed, message, f"inputs[{i}]")
    return future.result()

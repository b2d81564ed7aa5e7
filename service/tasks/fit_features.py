"""The features that a task is learned on: every layer's vectors of all examples, pooled as a prediction's
will be, computed once by the service's own embedder.

Sentences go to the engine in small groups, one group at a time, those of like length together. What is held
is the pooled features and one group's vectors.

Shape letters: N rows (sentences, words or marked words), L layers, C of a row's features (its layers, and the
global context of a marked word), D dimension.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model.tasks.watch import Cancelled
from model.tokenizer import Tokenized
from service.engine.backend import Floats
from service.engine.embedder import Embedder
from service.engine.fair_share import FairShare
from service.errors import ErrorType, ServiceError
from service.schemas import Text
from service.tasks.examples import Examples, Item
from service.work import Work

GROUP_CHARACTERS = 4096
"""About one batch (1,024 tokens of English, twice as many of Korean): the engine is at its best."""

SHARED_GROUP_CHARACTERS = 1024
"""While others ask: a request waits no longer for a group than for another request."""

FULL_QUEUE_NAP_S = 0.25
CANCEL_POLL_S = 0.1

Allocate = Callable[[tuple[int, int, int]], Floats]


@dataclass(frozen=True, slots=True)
class Engine:
    """The embedder as a thread beside the event loop asks it."""

    embedder: Embedder
    loop: asyncio.AbstractEventLoop
    share: FairShare
    is_cancelled: Callable[[], bool]

    def layers(self, texts: Sequence[Text]) -> list[tuple[Tokenized, Floats]]:
        """Return every text's tokens and their vectors (L, T, D), and rest afterwards.

        Raises Cancelled; ServiceError whose `where` is `[i]` for the text that cannot be embedded.
        """
        while True:
            work = Work()
            work.is_background = True
            asked = asyncio.run_coroutine_threadsafe(
                self.embedder.encode(texts, None, work, where=""), self.loop
            )
            try:
                result = self._waited_for(asked)
            except ServiceError as error:
                if error.type is not ErrorType.queue_full:
                    raise
                self._check()
                time.sleep(FULL_QUEUE_NAP_S)
                continue
            self.share.rest(work.timings.compute_s)
            return result

    def _waited_for(
        self, asked: concurrent.futures.Future[list[tuple[Tokenized, Floats]]]
    ) -> list[tuple[Tokenized, Floats]]:
        while True:
            try:
                return asked.result(CANCEL_POLL_S)
            except concurrent.futures.TimeoutError:
                if self.is_cancelled():
                    asked.cancel()
                    raise Cancelled from None

    def _check(self) -> None:
        if self.is_cancelled():
            raise Cancelled


def pooled_features(
    examples: Examples, engine: Engine, allocate: Allocate, progress: Callable[[float, int], None]
) -> Floats:
    """Return float32 (N, C, D), in memory that `allocate` gives.

    progress: told the share done, and how many examples that is. Raises ServiceError whose `where` is the
    place of the example that cannot be embedded, Cancelled.
    """
    num_rows = len(examples.labels)
    num_features = engine.embedder.num_layers + (examples.kind == "sense")
    features_NCD = allocate((num_rows, num_features, engine.embedder.dimension))
    starts = np.cumsum([0, *(item.num_rows for item in examples.items)])
    order = sorted(range(len(examples.items)), key=lambda i: examples.items[i].num_characters)
    num_characters = sum(item.num_characters for item in examples.items)
    num_done = num_characters_done = 0
    while num_done < len(order):
        budget = SHARED_GROUP_CHARACTERS if engine.share.others_ask() else GROUP_CHARACTERS
        group = order[num_done : num_done + _how_many(examples.items, order[num_done:], budget)]
        for i, rows_RCD in zip(group, _group_rows(examples, group, engine), strict=True):
            features_NCD[starts[i] : starts[i + 1]] = rows_RCD
        num_done += len(group)
        num_characters_done += sum(examples.items[i].num_characters for i in group)
        progress(num_characters_done / num_characters, num_done)
    return features_NCD


def _group_rows(examples: Examples, group: Sequence[int], engine: Engine) -> list[Floats]:
    """Return each example's rows (R, C, D)."""
    try:
        found = engine.layers([examples.items[i].text for i in group])
    except ServiceError as error:
        raise _at_example(error, examples, group) from None
    rows = []
    for i, (tokenized, layers_LTD) in zip(group, found, strict=True):
        examples.items[i].check_tokens(tokenized, examples.places[i])
        rows.append(examples.items[i].features(tokenized, layers_LTD))
    return rows


def _how_many(items: Sequence[Item], waiting: Sequence[int], budget: int) -> int:
    """Return how many of those that wait fit into the budget, at least 1."""
    total = 0
    for count, i in enumerate(waiting):
        total += items[i].num_characters
        if total > budget:
            return max(count, 1)
    return len(waiting)


def _at_example(error: ServiceError, examples: Examples, group: Sequence[int]) -> ServiceError:
    """Return the error with the place of its example; an error of the whole group keeps none."""
    index = (error.where or "").removeprefix("[").removesuffix("]")
    where = examples.places[group[int(index)]] if index.isdecimal() else None
    return ServiceError(error.type, error.message, where, error.headers)

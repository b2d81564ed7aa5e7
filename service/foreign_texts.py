"""The texts of a request to another API than ours: checked, encoded and named as that API names them.

Shape letters: B texts, T tokens of a text, D dimension.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from model.tokenizer import Tokenized
from service.body import show
from service.engine.backend import Floats
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.errors import ErrorType, ServiceError
from service.inputs import check_inputs
from service.mixes import Mix
from service.replies.size import INPUT_BYTES
from service.work import Work, attended

_PLACE = re.compile(r"inputs(?:\[(\d+)\])?")


@dataclass(frozen=True, slots=True)
class Texts:
    """place: what the API calls text i, or for None all of them: where an error about `inputs` is."""

    texts: Sequence[str]
    place: Callable[[int | None], str]

    @classmethod
    def of(cls, field: str, value: str | Sequence[str]) -> Texts:
        """Take them from a field that holds one text or a list of them."""
        if isinstance(value, str):
            return cls([value], lambda _: field)
        return cls(value, lambda i: field if i is None else f"{field}[{i}]")

    async def encoded(
        self,
        request: Request,
        embedder: Embedder,
        mix: Mix,
        work: Work,
        check: Callable[[Sequence[Tokenized]], None] | None = None,
    ) -> list[tuple[Tokenized, Floats]]:
        """Return every text's tokens and their vectors (T, D). Raises ServiceError, as `check` may."""
        with self.named():
            self._check(request)
            return await attended(request, embedder.encode(self.texts, mix, request=work, check=check))

    async def tokenized(self, request: Request, embedder: Embedder, work: Work) -> list[Tokenized]:
        """Return every text's tokens. Raises ServiceError."""
        with self.named():
            self._check(request)
            return await attended(request, embedder.tokenize(self.texts, request=work))

    def _check(self, request: Request) -> None:
        registry: Registry = request.app.state.registry
        check_inputs(self.texts, registry.settings.max_inputs, registry.settings.max_characters)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put this API's names into the place of an error about `inputs`."""
        try:
            yield
        except ServiceError as error:
            found = _PLACE.fullmatch(error.where or "")
            if found is None:
                raise
            place = self.place(None if found[1] is None else int(found[1]))
            raise ServiceError(error.type, error.message, place, error.headers) from None


def check_dimensions(dimensions: int | None, embedder: Embedder) -> None:
    """Raise ServiceError when a request wants shorter vectors than the model's, or longer ones."""
    if dimensions not in (None, embedder.dimension):
        message = f"expected {embedder.dimension}, the model's own, or none, got {show(dimensions)}"
        raise ServiceError(ErrorType.invalid_request, message, "dimensions")


def reserve_reply(
    request: Request, work: Work, embedder: Embedder, num_vectors: int, value_bytes: float
) -> None:
    """Reserve the memory of a reply of so many vectors. Raises ServiceError when there is none, or when the
    reply could have more bytes than the server sends.

    value_bytes: of one of a vector's D values, as it is written.
    """
    registry: Registry = request.app.state.registry
    most = registry.settings.max_reply_bytes
    num_bytes = num_vectors * (math.ceil(embedder.dimension * value_bytes) + INPUT_BYTES)
    if num_bytes > most:
        message = f"expected a reply of at most {most} bytes, got a request for up to {num_bytes}"
        raise ServiceError(ErrorType.reply_too_large, f"{message}: send fewer or shorter texts at once")
    work.held.reserve(num_bytes)


def visible_vectors(tokenized: Tokenized, vectors_TD: Floats) -> Floats:
    """Return the vectors of the tokens that are shown in replies, all but those of white space alone."""
    if all(tokenized.visible):
        return vectors_TD
    return vectors_TD[np.flatnonzero(tokenized.visible)]


def mean_vectors(encoded: Sequence[tuple[Tokenized, Floats]]) -> Floats:
    """Return float32 (B, D): for each text the mean over its tokens, as `pool: sentence` of /v1/embed."""
    return np.stack([visible_vectors(*text).mean(axis=0, dtype=np.float32) for text in encoded])

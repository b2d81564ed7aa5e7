"""Threads for what comes before the queue: texts that wait to become tokens.

How many tokens a text has is known only then, so its characters are what is admitted here. Short requests
have threads of their own: they never wait for a long one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from service.errors import ErrorType, ServiceError

Result = TypeVar("Result")

SHORT_CHARACTERS = 10_000
"""Of one request, all its inputs together."""

CHARACTERS_A_TOKEN = 8
"""More than a token of ordinary text has, so that what the queue would take is not refused here."""

RETRY_AFTER_S = 1


class TextLanes:
    """Two lanes, for short requests and for long ones. Each has its threads and its own limit."""

    def __init__(self, num_threads: int, queue_tokens: int) -> None:
        self._limit = CHARACTERS_A_TOKEN * queue_tokens
        self._short = _Lane("short", num_threads)
        self._long = _Lane("long", num_threads)

    def submit(self, num_characters: int, call: Callable[[], Result]) -> Future[Result]:
        """Have it called on a thread of its lane.

        Raises ServiceError (queue_full) when too many characters wait there. A request that nothing waits
        before is always taken, and one without characters too.
        """
        lane = self._short if num_characters <= SHORT_CHARACTERS else self._long
        return lane.submit(num_characters, call, self._limit)

    def shutdown(self) -> None:
        """Finish what waits and end the threads."""
        self._short.threads.shutdown()
        self._long.threads.shutdown()


class _Lane:
    def __init__(self, name: str, num_threads: int) -> None:
        self.threads = ThreadPoolExecutor(num_threads, thread_name_prefix=f"polyseme-tokenizer-{name}")
        self._num_characters = 0  # of what has not ended
        self._changing = threading.Lock()

    def submit(self, num_characters: int, call: Callable[[], Result], limit: int) -> Future[Result]:
        with self._changing:
            waiting = self._num_characters
            if waiting and num_characters and waiting + num_characters > limit:
                raise ServiceError(
                    ErrorType.queue_full,
                    f"expected room for {num_characters} characters, got a server where {waiting} wait to be "
                    f"tokenised, of {limit} that may",
                    headers={"Retry-After": str(RETRY_AFTER_S)},
                )
            future = self.threads.submit(call)
            self._num_characters += num_characters

        def ended(_: Future[Result]) -> None:
            with self._changing:
                self._num_characters -= num_characters

        future.add_done_callback(ended)
        return future

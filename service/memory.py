"""The memory that requests hold together: vectors, and replies until their clients have read them.

The queue bounds tokens that wait for the engine. What becomes of them is far larger (4 kB a token with 1,024
dimensions, as JSON 17 more) and stays after the engine is done with it, for as long as the slowest reader
takes. So each request reserves the most that it can come to hold before its sentences are queued; it keeps no
more than its reply once that is written, and nothing once that has been sent, or the request has failed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque

from service.errors import ErrorType, ServiceError

REMEMBERED = 64
"""Returns of memory from which it is told how fast it comes back."""

MAX_WAIT_S = 60


class Memory:
    """Of one process. Safe to call from several threads."""

    def __init__(self, most_bytes: float = math.inf) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._held_bytes = 0
        self._returns: deque[tuple[float, int]] = deque(maxlen=REMEMBERED)  # time.monotonic(), bytes

    @property
    def held_bytes(self) -> int:
        """What all requests together have reserved."""
        return self._held_bytes

    def take(self, num_bytes: int, beside_bytes: int) -> None:
        """Reserve so many more for a request that has `beside_bytes` already. Raises ServiceError."""
        of_request = num_bytes + beside_bytes
        if of_request > self._most_bytes:
            raise ServiceError(
                ErrorType.reply_too_large,
                f"expected vectors and a reply of at most {self._most_bytes} bytes together, got a request "
                f"for up to {of_request}: send fewer or shorter inputs at once",
            )
        with self._lock:
            if self._held_bytes + num_bytes <= self._most_bytes:
                self._held_bytes += num_bytes
                return
            of_others = self._held_bytes - beside_bytes
            wait_s = self._wait_s(of_others + of_request - self._most_bytes)
        raise ServiceError(
            ErrorType.memory_full,
            f"expected at most {self._most_bytes - of_others} bytes of vectors and replies beside the "
            f"{of_others} that other requests hold, got a request for up to {of_request}; "
            f"try again in {wait_s} s",
            headers={"Retry-After": str(wait_s)},
        )

    def give_back(self, num_bytes: int) -> None:
        """Undo `take` for so many."""
        with self._lock:
            self._held_bytes -= num_bytes
            assert self._held_bytes >= 0
            if self._held_bytes < self._most_bytes / 2:
                # As much comes back as is asked for, which is no measure of how fast it can.
                self._returns.clear()
            else:
                self._returns.append((time.monotonic(), num_bytes))

    def _wait_s(self, num_bytes: float) -> int:
        """Return the whole seconds, 1 to MAX_WAIT_S, in which so much will come back, as it did lately; 1
        when that is not known."""
        returned_bytes = sum(returned for _, returned in self._returns)
        if not returned_bytes:
            return 1
        since_s = time.monotonic() - self._returns[0][0]
        return min(max(1, math.ceil(num_bytes / returned_bytes * since_s)), MAX_WAIT_S)


class Held:
    """One request's part of the memory. Safe to call from several threads.

    A request may end while one of its threads still works: what that reserves afterwards is refused, because
    nobody would give it back.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._num_bytes = 0
        self._has_ended = False

    def reserve(self, num_bytes: int) -> None:
        """Hold so many more. Raises ServiceError when there is no room, or the request has ended."""
        with self._lock:
            if self._has_ended:
                raise ServiceError(ErrorType.deadline_exceeded, "the request has ended already")
            self._memory.take(num_bytes, self._num_bytes)
            self._num_bytes += num_bytes

    def shrink(self, num_bytes: int) -> None:
        """Hold so many, if it is more now: the vectors have become a reply, whose size is known."""
        with self._lock:
            excess = self._num_bytes - num_bytes
            if excess > 0:
                self._num_bytes = num_bytes
                self._memory.give_back(excess)

    def end(self) -> None:
        """Give all back, for good."""
        with self._lock:
            self._has_ended = True
            num_bytes, self._num_bytes = self._num_bytes, 0
            if num_bytes:
                self._memory.give_back(num_bytes)

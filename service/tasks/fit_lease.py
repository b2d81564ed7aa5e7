"""The right to fit the task of one name, held by one process at a time, for as long as its heart beats."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType
from typing import Self

from service.task_store.records import FitOver, FitState, NewTask, StoreUnavailable
from service.task_store.store import TaskStore

HEARTBEAT_S = 1.0
"""Between two words to the store: how far the fit is, and whether it was asked to stop."""

PATIENCE_S = 15.0
"""How long a finished fit waits for a store that is away, as long as its name stays taken: the task took
minutes to learn, and a database restarts in seconds."""

RETRY_S = 0.5


class FitLease:
    """A live fit: `queued` at first. One of its three ends must be called; a block left without has failed.

    A thread of its own tells the store that the fit lives. When this process is killed, its silence tells:
    after LEASE_S (task_records.py) the fit counts as failed, and another may begin.
    """

    def __init__(self, store: TaskStore, name: str, num_examples: int) -> None:
        """Raises FitRunning when another fit of this name is live, in any process; StoreUnavailable."""
        self.name = name
        self.id = uuid.uuid4().hex
        self._store = store
        self._state = FitState.queued
        self._progress = 0.0
        self._message = ""
        self._cancelled = threading.Event()
        self._ended = threading.Event()
        owner = f"{socket.gethostname()}:{os.getpid()}"
        store.begin_fit(name, self.id, owner, num_examples)
        self._heart = threading.Thread(target=self._beat, name="polyseme-fit-lease", daemon=True)
        self._heart.start()

    def start(self) -> None:
        """Say, with the next beat, that the fit does not wait any more."""
        self._state = FitState.running

    def report(self, progress: float, message: str = "") -> None:
        """Say, with the next beat, how far the fit is: a share in [0, 1]. Costs nothing."""
        self._progress, self._message = min(max(progress, 0.0), 1.0), message

    def is_cancelled(self) -> bool:
        """Whether the fit was asked to stop, or its name was lost to another. Asks nobody: costs nothing."""
        return self._cancelled.is_set()

    def finish(self, task: NewTask) -> None:
        """End well: the task is kept and the fit ended, both or neither.

        Waits for a store that is away. Raises FitOver when the fit was asked to stop before, or its name was
        lost: the task is not kept then; StoreUnavailable when the store did not come back.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._store.finish_fit(self.id, task)
                break
            except StoreUnavailable:
                if time.monotonic() >= end:
                    raise
            except FitOver as error:
                if error.cancelled:
                    self.cancel()
                raise
            time.sleep(RETRY_S)
        self._stop()

    def fail(self, message: str) -> None:
        """End with a failure; the message is for the client. Raises StoreUnavailable: silence tells then."""
        self._end(FitState.failed, message)

    def cancel(self) -> None:
        """End as it was asked to. Raises StoreUnavailable: silence tells then."""
        self._end(FitState.cancelled, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended.is_set():
            # What went wrong in the block matters more than a store that cannot be told.
            with suppress(StoreUnavailable):
                self.fail("the server made a mistake; its log says where")

    def _end(self, state: FitState, message: str) -> None:
        self._stop()
        self._store.end_fit(self.name, self.id, state, message)

    def _stop(self) -> None:
        self._ended.set()
        self._heart.join()

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            try:
                asked = self._store.beat_fit(self.name, self.id, self._state, self._progress, self._message)
            except StoreUnavailable:
                continue  # the store has said so in the log; the fit goes on, for it may be back in time
            except FitOver:
                self._cancelled.set()
                return
            if asked:
                self._cancelled.set()

"""The shards of a run, one after another in this process. A thread writes while the next windows are
computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

from service.bulk.encoder import Encoder, Window
from service.bulk.jobs import Job
from service.bulk.shard_file import Output, ShardFile


def make_shards(
    jobs: Iterable[Job], encoder: Encoder, output: Output, told: Callable[[int, int, int], object]
) -> None:
    """Make the files of all jobs. told: of rows that have been embedded, how many characters, tokens and bad
    rows they are.

    Raises OSError; also Refusal, as `jobs` does. What is not finished then leaves nothing.
    """
    with (
        ThreadPoolExecutor(1, thread_name_prefix="polyseme-writer") as thread,
        closing(encoder.windows(jobs)) as windows,
    ):
        writing = _InOrder(thread)
        file: ShardFile | None = None
        try:
            for window in windows:
                if file is None:
                    file = ShardFile(output, window.job.shard, window.job.file, window.job.kept)
                writing.submit(partial(file.add, window))
                told(*_size(window))
                if window.ends_shard:
                    writing.submit(file.commit)
                    file = None
        except BaseException:
            writing.wait()
            if file is not None:
                file.discard()
            raise
        writing.join()


class _InOrder:
    """Calls on one thread, of which one runs or waits: what it was given is all that is held."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._last: Future[Any] | None = None

    def submit(self, call: Callable[[], object]) -> None:
        """Raises what the call before has raised."""
        self.join()
        self._last = self._thread.submit(call)

    def join(self) -> None:
        """Wait for the last call, and raise what it has raised."""
        if self._last is not None:
            self._last.result()  # Ctrl-C may come meanwhile: then `wait` must know what still runs
            self._last = None

    def wait(self) -> None:
        """Wait for the last call, however it ends."""
        if self._last is not None:
            self._last.exception()


def _size(window: Window) -> tuple[int, int, int]:
    num_bad = sum(isinstance(outcome, str) for outcome in window.outcomes)
    return sum(row.num_characters for row in window.rows), window.num_tokens, num_bad

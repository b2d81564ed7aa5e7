"""How far a run is, on standard error: a bar on a terminal, elsewhere a line for each tenth."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TextIO

from service.bulk.plan import Plan

STEP_WITHOUT_TERMINAL = 0.1

FORMAT = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"


class Progress:
    """Counts characters, of which it is known how many there are, and tokens, of which it is not."""

    def __init__(self, plan: Plan, wanted: Collection[int], out: TextIO) -> None:
        """wanted: the shards that are still to be made."""
        from tqdm import tqdm

        self._all = plan.num_characters
        self._first = sum(shard.num_characters for shard in plan.shards if shard.number not in wanted)
        self._done = self._first
        self._num_tokens = 0
        self._num_bad = 0
        self._out = out
        self._started_s = time.monotonic()
        self._ended_s: float | None = None
        self._shown = self._done / self._all
        self._bar = tqdm(
            total=self._all,
            initial=self._done,
            bar_format=FORMAT,
            file=out,
            disable=not out.isatty(),
            dynamic_ncols=True,
        )

    def begin(self) -> None:
        """Count the time from now on: what computes is there."""
        self._started_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """From the beginning until now, or until `close`."""
        return (self._ended_s or time.monotonic()) - self._started_s

    @property
    def tokens_per_s(self) -> float:
        return self._num_tokens / max(self.seconds, 1e-9)

    def add(self, num_characters: int, num_tokens: int, num_bad: int) -> None:
        """Take in rows that have been embedded."""
        self._num_tokens += num_tokens
        self._num_bad += num_bad
        self._done += num_characters
        self._bar.set_postfix_str(self._rate(), refresh=False)
        self._bar.update(num_characters)
        share = self._done / self._all
        is_due = share >= self._shown + STEP_WITHOUT_TERMINAL or share == 1 > self._shown
        if is_due and not self._out.isatty():
            self._shown = share
            left_s = self.seconds * (self._all - self._done) / max(self._done - self._first, 1)
            print(f"{share:4.0%} {self._rate()}, {left_s:,.0f} s left", file=self._out, flush=True)

    def close(self) -> None:
        self._ended_s = time.monotonic()
        self._bar.close()

    def _rate(self) -> str:
        bad = f", {self._num_bad:,} bad rows" if self._num_bad else ""
        return f"{self.tokens_per_s:,.0f} tokens/s{bad}"


class Reading:
    """Rows that have been read for the plan, on a terminal."""

    def __init__(self, out: TextIO) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc="reading", unit=" rows", file=out, disable=not out.isatty(), leave=False)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def __call__(self, num_rows: int) -> None:
        self._bar.update(num_rows)

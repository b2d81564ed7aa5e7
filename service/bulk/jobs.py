"""What an engine is given of a shard: its rows, read and ready, wherever it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from service.bulk.options import Options
from service.bulk.plan import Plan, Shard, rows_of_shards
from service.bulk.rows import Row


@dataclass(frozen=True, slots=True)
class Job:
    """A shard with its rows: some hundred kilobytes of text, and at most `MAX_KEPT_BYTES` beside it."""

    shard: Shard
    file: str  # the input's name
    rows: list[Row]  # without their columns
    kept: Any  # these, of the good rows: a pyarrow.Table; None when they are not written


def jobs(plan: Plan, options: Options, wanted: Collection[int]) -> Iterator[Job]:
    """Yield the shards of these numbers, in order; each is read when it is asked for.

    Raises Refusal, OSError.
    """
    for shard, rows in rows_of_shards(plan, options, wanted):
        kept = None
        if options.keeps_columns:
            kept = plan.columns.table([row for row in rows if row.error is None])
            rows = [replace(row, kept={}) for row in rows]
        yield Job(shard, plan.sources[shard.source].name, rows, kept)

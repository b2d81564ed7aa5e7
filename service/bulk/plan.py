"""What a run will make of its inputs: shards of neighbouring rows, each to become one file.

The inputs are read twice, once for the plan and once for the work. Reading is a thousandth of the work, and
so the plan can say how much there is, and which columns all files have.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from service.bulk.kept import KeptColumns
from service.bulk.options import Options
from service.bulk.rows import Row, read_rows
from service.bulk.sources import Source
from service.refusal import Refusal

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""Of the columns of one shard, about: a row may have few characters of text and a picture beside them."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Rows of one input."""

    number: int
    source: int  # of the inputs
    first_row: int  # its first row's number, from 0, over all inputs
    num_rows: int
    num_characters: int


@dataclass(frozen=True)
class Plan:
    """All shards, in the order of the rows."""

    sources: Sequence[Source]
    shards: Sequence[Shard]
    columns: KeptColumns

    @property
    def num_rows(self) -> int:
        return sum(shard.num_rows for shard in self.shards)

    @property
    def num_characters(self) -> int:
        return sum(shard.num_characters for shard in self.shards)


def make_plan(
    sources: Sequence[Source], options: Options, columns: KeptColumns, told: Callable[[int], object]
) -> Plan:
    """Raises Refusal, OSError. told: called with the number of rows that were read since its last call."""
    shards: list[Shard] = []
    first_row = 0
    for i, source in enumerate(sources):
        rows = read_rows(source, options)
        while True:
            num_rows, num_characters = _cut(rows, options, columns)
            if not num_rows:
                break
            shards.append(Shard(len(shards), i, first_row, num_rows, num_characters))
            first_row += num_rows
            told(num_rows)
    if not shards:
        raise Refusal("INPUT: expected at least one row, got none")
    return Plan(sources, shards, columns)


def rows_of_shards(
    plan: Plan, options: Options, wanted: Collection[int]
) -> Iterator[tuple[Shard, list[Row]]]:
    """Yield the shards of these numbers with their rows, in order.

    Raises Refusal when an input has changed, OSError.
    """
    for i, shards in groupby(plan.shards, lambda shard: shard.source):
        of_source = list(shards)
        rows = read_rows(plan.sources[i], options)
        left = sum(shard.number in wanted for shard in of_source)
        for shard in of_source:
            if not left:
                break
            found = islice(rows, shard.num_rows)
            if shard.number not in wanted:
                for _ in found:
                    pass
                continue
            kept = list(found)
            if (len(kept), sum(row.num_characters for row in kept)) != (shard.num_rows, shard.num_characters):
                raise Refusal(f"{plan.sources[i].name}: expected no change while it is read, got one")
            left -= 1
            yield shard, kept


def _cut(rows: Iterator[Row], options: Options, columns: KeptColumns) -> tuple[int, int]:
    """Read the rows of one shard; return how many there are, and their characters."""
    num_rows = num_characters = kept_bytes = 0
    for row in rows:
        num_rows += 1
        num_characters += row.num_characters
        kept_bytes += row.kept_bytes
        columns.note(row)
        if num_characters >= options.shard_characters or kept_bytes >= MAX_KEPT_BYTES:
            break
    return num_rows, num_characters

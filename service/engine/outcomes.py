"""What an engine says of each item that it was given: between the batcher and whatever runs its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, TypeAlias

from service.engine.queue import Item, Result


class Unfinished(Enum):
    """The type of UNFINISHED, which stands for no result yet."""

    UNFINISHED = "the item has more slices to run"


UNFINISHED: Final = Unfinished.UNFINISHED

Outcome: TypeAlias = Result | Exception | Unfinished

Run: TypeAlias = Callable[[Sequence[Item]], Iterable[tuple[int, Outcome[Result]]]]
"""Runs the next slice of every item, and gives each one's index and outcome as soon as it has it. When it
raises, an item that it has not given is as it was before."""

"""What is seen of a run: a bar on a terminal, elsewhere a line for each tenth."""

from __future__ import annotations

import io
import re

import pytest

from service.bulk.kept import KeptColumns
from service.bulk.plan import Plan, Shard
from service.bulk.progress import Progress

PLAN = Plan([], [Shard(i, 0, i, 1, 100) for i in range(4)], KeptColumns(()))


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_run_that_goes_on_begins_where_it_was(is_terminal: bool) -> None:
    screen = Screen(is_terminal)
    progress = Progress(PLAN, {2, 3}, screen)
    for num_bad in (0, 1):
        progress.add(100, 25, num_bad)
    progress.close()
    lines = re.split(r"[\r\n]+", screen.getvalue().strip("\r\n"))
    if is_terminal:
        assert lines[0].startswith(" 50%|")
        assert re.search(r"^100%\|.*\| 00:00, 00:00 left, [\d,]+ tokens/s, 1 bad rows", lines[-1])
    else:
        assert [line[:4] for line in lines] == [" 75%", "100%"]
        assert re.fullmatch(r"100% [\d,]+ tokens/s, 1 bad rows, 0 s left", lines[-1])


def test_the_clock_stops_at_the_end() -> None:
    progress = Progress(PLAN, {0, 1, 2, 3}, Screen(False))
    progress.begin()
    progress.add(400, 100, 0)
    progress.close()
    assert progress.seconds == progress.seconds > 0
    assert progress.tokens_per_s == 100 / progress.seconds

"""Which signals end a server, from the first moment of its process to the last: always with status 0.

SIGTERM, Ctrl-C (SIGINT), and SIGHUP, which comes when a terminal is closed. While nothing is served there is
nothing to finish, and the process ends at once; Python itself would end with another status, or with a stack
trace. Whoever serves takes the signals over for as long as it does.

SIGHUP reloads nothing: settings and bundles are read at the start. A process that was started with nohup
ignores it, and goes on doing so.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_takers: list[Callable[[], object]] = []


def end_on_signals() -> None:
    """Let the signals end this process at once, unless somebody has taken them over."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


@contextmanager
def taken_over(on_signal: Callable[[], object]) -> Iterator[None]:
    """Have each signal call `on_signal` in the main thread, amid whatever runs there."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _takers.append(on_signal)
    end_on_signals()
    try:
        yield
    finally:
        _takers.remove(on_signal)
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: object) -> None:
    if not _takers:
        os._exit(0)
    _takers[-1]()

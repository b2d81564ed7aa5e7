"""A load that does not wait for answers: requests leave at their times, whatever has become of those before.

One thread sends bytes that were made beforehand and reads replies without looking into them, but for a
sample: so little of the cores that it shares with the server goes into asking.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass

from tests.benchmarks.load import Call

_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """What came back, and when; status 0: nothing, because the load was over first."""

    status: int
    started_s: float
    ended_s: float
    retry_after: bool


class OpenLoop:
    """Requests of one kind at a fixed rate, each on a connection that is free then, or on a new one."""

    def __init__(self, host: str, port: int, call: Call, sample: int) -> None:
        """sample: of so many good replies one is checked."""
        head = [f"POST {call.path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(call.body)}"]
        head += [f"{name}: {value}" for name, value in call.headers.items()]
        self._request = "\r\n".join([*head, "", ""]).encode() + call.body
        self._address = (host, port)
        self._call = call
        self._sample = sample
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._num_good = 0
        self.num_checked = 0
        self.num_connections = 0
        self.outcomes: list[Outcome] = []

    async def run(self, per_s: float, duration_s: float) -> None:
        """Ask for so long, then leave: what has not been answered is given up. Raises what `check` raises."""
        first_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for i in range(int(per_s * duration_s)):
                await asyncio.sleep(max(0.0, first_s + i / per_s - time.perf_counter()))
                tasks.append(group.create_task(self._ask()))
            for task in tasks:
                task.cancel()
        for _, writer in self._free:
            writer.transport.abort()

    async def _ask(self) -> None:
        started_s = time.perf_counter()
        status, retry_after, content = 0, False, b""
        writer: asyncio.StreamWriter | None = None
        try:
            reader, writer = await self._connection()
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            assert found is not None
            content = await reader.readexactly(int(found[1]))
            status, retry_after = int(head[9:12]), b"\nretry-after: " in head.lower()
            self._free.append((reader, writer))
        except asyncio.CancelledError:
            if writer is not None:
                writer.transport.abort()
            raise
        finally:
            self.outcomes.append(Outcome(status, started_s, time.perf_counter(), retry_after))
        if status == 200:
            self._num_good += 1
            if self._num_good % self._sample == 1:
                self._call.check(content)
                self.num_checked += 1

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._free:
            return self._free.pop()
        self.num_connections += 1
        return await asyncio.open_connection(*self._address)

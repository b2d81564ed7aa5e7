from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from service.draining import Drain, Draining
from service.errors import ServiceError


class Gate:
    """An application whose requests end when it is opened."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.num_ended = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.may_end.wait()
        self.num_ended += 1


async def receive() -> Message:
    raise AssertionError("nothing is read here")


async def send(message: Message) -> None:
    raise AssertionError(f"nothing is answered here, got {message}")


def request(layer: Draining, path: str = "/v1/embed") -> asyncio.Task[None]:
    async def run() -> None:
        await layer({"type": "http", "path": path}, receive, send)

    return asyncio.create_task(run())


async def refusal(task: asyncio.Task[None]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await task
    return caught.value


def test_what_has_begun_ends_and_nothing_new_is_taken() -> None:
    async def run() -> None:
        gate, drain = Gate(), Drain()
        layer = Draining(gate, drain)
        begun = [request(layer), request(layer)]
        await asyncio.sleep(0)
        assert drain.num_in_flight == 2
        drain.begin()
        late = await refusal(request(layer))
        assert (late.type.name, late.message) == (
            "not_ready", "the server is stopping and takes no new work",
        )  # fmt: skip
        assert late.headers == {"Connection": "close", "Retry-After": "1"}
        idle = asyncio.create_task(drain.idle())
        await asyncio.sleep(0)
        assert not idle.done()
        gate.may_end.set()
        await asyncio.gather(*begun, idle)
        assert (drain.num_in_flight, gate.num_ended) == (0, 2)

    asyncio.run(run())


def test_what_is_cut_is_told_so() -> None:
    async def run() -> None:
        gate, drain = Gate(), Drain()
        layer = Draining(gate, drain)
        begun = request(layer)
        await asyncio.sleep(0)
        assert drain.num_in_flight == 1
        drain.begin()
        drain.cut()
        cut = await refusal(begun)
        assert cut.message == "the server is stopping and could not finish this in time"
        assert (drain.num_in_flight, gate.num_ended) == (0, 0)
        await drain.idle()

    asyncio.run(run())


def test_a_task_that_others_cancel_is_cancelled() -> None:
    async def run() -> None:
        drain = Drain()
        begun = request(Draining(Gate(), drain))
        await asyncio.sleep(0)
        assert drain.num_in_flight == 1
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        assert drain.num_in_flight == 0

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
def test_probes_pass_and_are_no_work(path: str) -> None:
    async def run() -> None:
        gate, drain = Gate(), Drain()
        drain.begin()
        probe = request(Draining(gate, drain), path)
        await asyncio.sleep(0)
        assert drain.num_in_flight == 0
        gate.may_end.set()
        await probe
        assert gate.num_ended == 1

    asyncio.run(run())

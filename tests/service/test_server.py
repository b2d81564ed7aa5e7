"""The listening socket; starting and stopping a whole server is in test_end_to_end.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from service.server import Server, bind


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_connections_send_small_replies_at_once(host: str) -> None:
    with bind(host, 0) as listening:
        client = socket.create_connection(listening.getsockname()[:2])
        accepted, _ = listening.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_all_interfaces_of_both_protocols() -> None:
    with bind("::", 0) as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("not a host", "Name or service not known")],
)
def test_an_address_that_is_not_ours(host: str, reason: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {host} port 0: {reason}$"):
        bind(host, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_connection_is_not_lost(number: signal.Signals) -> None:
    async def no_requests(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody has asked anything")

    async def stopped_at_once() -> None:
        server = Server(uvicorn.Config(no_requests, log_config=None, lifespan="off"))
        server.stop_on_signals()
        os.kill(os.getpid(), number)
        with bind("127.0.0.1", 0) as listening:
            await asyncio.wait_for(server.serve(sockets=[listening]), timeout=30)

    asyncio.run(stopped_at_once())

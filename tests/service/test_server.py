"""The listening socket; starting and stopping a whole server is in test_end_to_end.py."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading

import pytest

from service.app import create_app
from service.ending import SIGNALS
from service.server import Server, bind, forced_end
from tests.patience import PATIENCE_S
from tests.service.conftest import fake_settings, wait_until
from tests.service.fake_backend import open_fake


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
    ("addresses", "expected"),
    [
        ([(socket.AF_INET6, "::1")], "::1"),
        ([(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")], "127.0.0.1"),
    ],
)
def test_a_name_is_what_it_stands_for(
    monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[socket.AddressFamily, str]], expected: str
) -> None:
    """Which names a machine has, no test can know."""
    found = [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with bind("localhost" if expected == "127.0.0.1" else expected, 0) as listening:
        assert listening.getsockname()[0] == expected


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "Cannot assign requested address"), ("not a host", "Name or service not known")],
)
def test_an_address_that_is_not_ours(host: str, reason: str) -> None:
    with pytest.raises(OSError, match=f"cannot listen on {host} port 0: {reason}$"):
        bind(host, 0)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_first_connection_is_not_lost(number: signal.Signals) -> None:
    async def stopped_at_once() -> None:
        stops: list[str] = []
        server = Server(create_app(fake_settings(), open_fake), fake_settings(), lambda: stops.append("once"))
        with server.stopping_on_signals(), bind("127.0.0.1", 0) as listening:
            os.kill(os.getpid(), number)
            await asyncio.wait_for(server.serve(sockets=[listening]), PATIENCE_S)
        server.stop()
        assert stops == ["once"]

    asyncio.run(stopped_at_once())


def test_a_process_that_ends_in_time_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[str] = []
    monkeypatch.setattr("service.server.cut_off", cut.append)
    monkeypatch.setattr("service.server.END_MARGIN_S", 0.0)
    with forced_end(fake_settings(drain_s=0)) as on_stop:
        on_stop()
        wait_until(lambda: cut == ["it did not end in time"])
    with forced_end(fake_settings(drain_s=60)) as on_stop:
        on_stop()
        (timer,) = (thread for thread in threading.enumerate() if isinstance(thread, threading.Timer))
    timer.join(PATIENCE_S)
    assert not timer.is_alive()
    assert len(cut) == 1

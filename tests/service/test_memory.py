"""The memory that requests hold together: its limit, and what is left when they have ended."""

from __future__ import annotations

import itertools
import threading

import pytest

from service import memory
from service.errors import ServiceError
from service.memory import Held, Memory


def refusal(held: Held, num_bytes: int) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        held.reserve(num_bytes)
    return caught.value


def test_what_is_reserved_is_held_until_the_end() -> None:
    memory = Memory(100)
    first, second = Held(memory), Held(memory)
    first.reserve(30)
    first.reserve(20)
    second.reserve(50)
    assert memory.held_bytes == 100
    first.end()
    assert memory.held_bytes == 50
    second.end()
    second.end()
    assert memory.held_bytes == 0


def test_a_reply_is_held_by_its_own_size() -> None:
    memory = Memory(100)
    held = Held(memory)
    held.reserve(80)
    held.shrink(90)
    assert memory.held_bytes == 80
    held.shrink(30)
    assert memory.held_bytes == 30
    held.end()
    assert memory.held_bytes == 0


def test_one_too_many_is_told_to_come_back() -> None:
    memory = Memory(100)
    Held(memory).reserve(60)
    other = Held(memory)
    other.reserve(10)
    error = refusal(other, 31)
    assert (error.type.name, error.where, error.headers) == ("memory_full", None, {"Retry-After": "1"})
    assert error.message == (
        "expected at most 40 bytes of vectors and replies beside the 60 that other requests hold, got a "
        "request for up to 41; try again in 1 s"
    )
    assert memory.held_bytes == 70, "what the request has already, it keeps until its end"
    other.reserve(30)


def test_one_that_could_never_fit() -> None:
    memory = Memory(100)
    held = Held(memory)
    held.reserve(60)
    error = refusal(held, 41)
    assert (error.type.name, error.headers) == ("reply_too_large", {})
    assert error.message == (
        "expected vectors and a reply of at most 100 bytes together, got a request for up to 101: send fewer "
        "or shorter inputs at once"
    )


def test_the_wait_follows_how_fast_memory_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = itertools.count(step=2)  # seconds
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(now_s))  # type: ignore[attr-defined]
    shared = Memory(100)
    held = Held(shared)
    held.reserve(100)
    held.shrink(90)  # 10 bytes at 0 s, 10 at 2 s; asked at 4 s: 20 in 4 s
    held.shrink(80)
    assert refusal(Held(shared), 50).headers == {"Retry-After": "6"}


def test_quiet_times_say_nothing_about_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = itertools.count(step=1000)
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(now_s))  # type: ignore[attr-defined]
    shared = Memory(100)
    for _ in range(3):
        small = Held(shared)
        small.reserve(40)
        small.end()
    Held(shared).reserve(100)
    assert refusal(Held(shared), 50).headers == {"Retry-After": "1"}


def test_the_wait_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = itertools.count(step=1000)
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(now_s))  # type: ignore[attr-defined]
    shared = Memory(100)
    held = Held(shared)
    held.reserve(100)
    held.shrink(99)
    assert refusal(Held(shared), 50).headers == {"Retry-After": "60"}


def test_nothing_is_reserved_for_a_request_that_has_ended() -> None:
    memory = Memory(100)
    held = Held(memory)
    held.end()
    assert refusal(held, 1).type.name == "deadline_exceeded"
    assert memory.held_bytes == 0


def test_threads_together_never_hold_more() -> None:
    memory = Memory(1000)
    most: list[int] = []

    def work() -> None:
        for _ in range(200):
            held = Held(memory)
            try:
                held.reserve(300)
                most.append(memory.held_bytes)
            except ServiceError:
                pass
            held.end()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 900
    assert memory.held_bytes == 0

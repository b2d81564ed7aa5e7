"""Short requests never wait for long ones, and what waits is bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from service.engine.text_lanes import CHARACTERS_A_TOKEN, SHORT_CHARACTERS, TextLanes
from service.errors import ServiceError
from tests.patience import PATIENCE_S
from tests.service.conftest import wait_until

QUEUE_TOKENS = 2000
LIMIT = CHARACTERS_A_TOKEN * QUEUE_TOKENS  # 16,000 characters


class Held:
    """Lanes of one thread each, and something to hold them with."""

    def __init__(self) -> None:
        self.lanes = TextLanes(1, QUEUE_TOKENS)
        self.may_end = threading.Event()

    def hold(self, num_characters: int) -> None:
        self.lanes.submit(num_characters, lambda: self.may_end.wait(PATIENCE_S))

    def refusal(self, num_characters: int) -> tuple[str, str, str]:
        with pytest.raises(ServiceError) as caught:
            self.lanes.submit(num_characters, lambda: None)
        error = caught.value
        return error.type.name, error.message, error.headers["Retry-After"]


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.may_end.set()
    held.lanes.shutdown()


def test_a_short_request_passes_a_long_one(held: Held) -> None:
    held.hold(SHORT_CHARACTERS + 1)
    assert held.lanes.submit(SHORT_CHARACTERS, lambda: "short").result(PATIENCE_S) == "short"


def test_what_waits_is_bounded(held: Held) -> None:
    held.hold(10_000)
    held.hold(6_000)
    expected = f"expected room for 1 characters, got a server where {LIMIT} wait to be tokenised, of {LIMIT}"
    assert held.refusal(1) == ("queue_full", f"{expected} that may", "1")


def test_what_is_tokenised_already_always_passes() -> None:
    lanes = TextLanes(2, 1)
    may_end = threading.Event()
    lanes.submit(100, lambda: may_end.wait(PATIENCE_S))
    assert lanes.submit(0, lambda: "queued").result(PATIENCE_S) == "queued"
    may_end.set()
    lanes.shutdown()


def test_nothing_before_it_is_room_enough(held: Held) -> None:
    held.hold(100 * LIMIT)
    assert held.refusal(SHORT_CHARACTERS + 1)[0] == "queue_full"
    held.may_end.set()
    wait_until(lambda: held.lanes._long._num_characters == 0)
    assert held.lanes.submit(100 * LIMIT, lambda: "long").result(PATIENCE_S) == "long"


def test_a_text_that_nobody_waits_for_gives_its_room_back(held: Held) -> None:
    held.hold(10_000)
    waiting = held.lanes.submit(6_000, lambda: None)
    assert held.refusal(1)[0] == "queue_full"
    assert waiting.cancel()
    assert held.lanes.submit(6_000, lambda: "next")


def test_an_error_is_the_caller_s(held: Held) -> None:
    def fail() -> None:
        raise ValueError("bad text")

    failing = held.lanes.submit(LIMIT, fail)
    with pytest.raises(ValueError, match="bad text"):
        failing.result(PATIENCE_S)
    assert held.lanes.submit(LIMIT, lambda: "next").result(PATIENCE_S) == "next"

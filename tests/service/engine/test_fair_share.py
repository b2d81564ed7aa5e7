"""How much a long job rests while others ask."""

from __future__ import annotations

import time

import pytest

from service.engine.fair_share import WORK_SHARE, FairShare


def rested(share: FairShare, worked_s: float) -> float:
    started_s = time.monotonic()
    share.rest(worked_s)
    return time.monotonic() - started_s


def test_it_works_its_share_while_others_ask() -> None:
    share = FairShare(lambda: True, lambda: False)
    assert rested(share, 0.02) == pytest.approx(0.02 / WORK_SHARE - 0.02, abs=0.05)


def test_it_never_rests_when_nobody_asks_or_it_is_over() -> None:
    assert rested(FairShare(lambda: False, lambda: False), 100.0) < 1
    assert rested(FairShare(lambda: True, lambda: True), 100.0) < 1


def test_it_goes_on_when_the_others_have_gone() -> None:
    asked = iter([True, True])
    assert rested(FairShare(lambda: next(asked, False), lambda: False), 100.0) < 10


def test_its_own_work_is_what_it_rests_for() -> None:
    share = FairShare(lambda: True, lambda: False)
    share.begin()
    time.sleep(0.02)
    started_s = time.monotonic()
    share.rest()
    assert time.monotonic() - started_s >= 0.02 / WORK_SHARE - 0.02

"""How much a long job rests while others ask."""

from __future__ import annotations

import time

from service.engine.fair_share import WORK_SHARE, FairShare
from tests.patience import PATIENCE_S


def rested(share: FairShare, worked_s: float) -> float:
    started_s = time.monotonic()
    share.rest(worked_s)
    return time.monotonic() - started_s


def test_it_works_its_share_while_others_ask() -> None:
    share = FairShare(lambda: True, lambda: False)
    assert rested(share, 0.02) >= 0.02 / WORK_SHARE - 0.02


def test_it_never_rests_when_nobody_asks_or_it_is_over() -> None:
    for share in (FairShare(lambda: False, lambda: False), FairShare(lambda: True, lambda: True)):
        assert rested(share, 1000.0) < PATIENCE_S


def test_it_goes_on_when_the_others_have_gone() -> None:
    asked = iter([True, True])
    assert rested(FairShare(lambda: next(asked, False), lambda: False), 1000.0) < PATIENCE_S


def test_its_own_work_is_what_it_rests_for() -> None:
    share = FairShare(lambda: True, lambda: False)
    share.begin()
    time.sleep(0.02)
    started_s = time.monotonic()
    share.rest()
    assert time.monotonic() - started_s >= 0.02 / WORK_SHARE - 0.02

from __future__ import annotations

import pytest

from model.tasks.watch import Cancelled, Watch


def test_progress_never_falls_and_ends_at_one() -> None:
    seen: list[float] = []
    watch = Watch(seen.append, lambda: False)
    watch.stage(0.5, 3)
    for _ in range(10):
        watch.step()
    watch.stage(1.0, 100)
    watch.step()
    watch.finish()
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[10] < 0.5 == seen[11]
    assert seen[-1] == 1.0


def test_cancelled() -> None:
    asked: list[bool] = [False, False, True]
    watch = Watch(lambda share: None, lambda: asked.pop(0))
    watch.stage(1.0, 1)
    watch.step()
    with pytest.raises(Cancelled, match=r"^the fit was cancelled$"):
        watch.step()

"""What clients and probes see when the engine dies or hangs, a deadline passes, or a client goes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from service.engine.backend import Floats, Integers
from service.work import Work
from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, number
from tests.service.routes.asking import embed, hanging_up, refused

LOST = {
    "type": "engine_failed",
    "message": "the engine was lost while this waited for it; try again",
}


class DyingRuntime(FakeRuntime):
    """Ends the thread that shows it a certain token."""

    def layer_slices(
        self, forward_TBD: Floats, backward_TBD: Floats, lengths_B: Integers, state_SR2BH: Floats
    ) -> tuple[Floats, Floats]:
        if (forward_TBD == number("killer")).any():
            raise SystemExit
        return super().layer_slices(forward_TBD, backward_TBD, lengths_B, state_SR2BH)


@contextmanager
def engine_held(runtime: FakeRuntime, client: httpx.Client) -> Iterator[None]:
    """Keep the engine busy with a request of its own; whatever comes then queues."""
    with ThreadPoolExecutor(1) as thread:
        runtime.may_run.clear()
        first = thread.submit(embed, client, "first")
        assert runtime.running.wait(PATIENCE_S)
        try:
            yield
        finally:
            runtime.may_run.set()
        first.result(PATIENCE_S)


def test_a_thread_that_dies_is_replaced_at_once() -> None:
    with serving_runtime(DyingRuntime()) as client:
        for _ in range(3):
            status, error = refused(client, "a", "killer")
            assert (status, error) == (500, LOST)
            wait_until(lambda: client.get("/readyz").status_code == 200)
            assert embed(client, "a")["embeddings"][0]["num_tokens"] == 1


def test_while_an_engine_hangs_nothing_is_taken(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, stall_ms=100) as client, ThreadPoolExecutor(1) as thread:
        runtime.may_run.clear()
        hung = thread.submit(embed, client, "b")
        wait_until(lambda: client.get("/readyz").status_code == 503)
        status, error = refused(client, "c")
        assert (status, error["type"]) == (503, "not_ready")
        runtime.may_run.set()
        assert hung.result(PATIENCE_S)["embeddings"][0]["num_tokens"] == 1


def test_an_engine_that_hangs_for_long_is_replaced(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime, hang_ms=300) as client, ThreadPoolExecutor(1) as thread:
        runtime.may_run.clear()
        hung = thread.submit(refused, client, "b")
        assert hung.result(PATIENCE_S) == (500, LOST)
        wait_until(lambda: client.get("/readyz").status_code == 200)
        runtime.may_run.set()
        assert embed(client, "d")["embeddings"][0]["num_tokens"] == 1


@pytest.mark.parametrize("num_tokens", [1, 2000])
def test_a_deadline_is_answered_with_504(runtime: FakeRuntime, num_tokens: int) -> None:
    with serving_runtime(runtime, stall_ms=60_000) as client:
        with engine_held(runtime, client):
            reply = client.post(
                "/v1/embed", json={"inputs": ["a " * num_tokens]}, headers={"X-Request-Timeout-Ms": "50"}
            )
            assert (reply.status_code, reply.json()["error"]["type"]) == (504, "deadline_exceeded")
        assert embed(client, "b")["embeddings"][0]["num_tokens"] == 1
        assert runtime.batches == [[3], [3]]


def test_a_client_that_goes_takes_its_work_along(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the queue: never computed. Between two slices: computed no further."""
    given_up: set[Work] = set()
    cancel = Work.cancel

    def noted_cancel(work: Work) -> None:
        cancel(work)
        given_up.add(work)

    monkeypatch.setattr(Work, "cancel", noted_cancel)
    with serving_runtime(runtime, stall_ms=60_000, slice_tokens=100) as client:
        runtime.may_run.clear()
        document = hanging_up(client, "a " * 998)
        assert runtime.running.wait(PATIENCE_S)
        queued = hanging_up(client, "b c")
        wait_until(lambda: runtime.queue_depth() == 900 + 4)
        document.close()
        queued.close()
        wait_until(lambda: len(given_up) == 2)
        runtime.may_run.set()
        wait_until(lambda: runtime.queue_depth() == 0)
        assert embed(client, "d")["embeddings"][0]["num_tokens"] == 1
        assert runtime.batches == [[100], [3]]

"""What /metrics says after known requests; no label ever holds what a client has written."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from service.metrics import Metrics
from service.resident import resident_bytes
from service.task_store.target import SQLiteFile
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime
from tests.service.routes.asking import hanging_up
from tests.service.routes.task_client import CLASSIFY, ended, learning


def value(page: str, series: str) -> float:
    """Return the value of one series, named with its labels as the page has them."""
    found = re.findall(rf"^{re.escape(series)} (\S+)$", page, re.MULTILINE)
    assert len(found) == 1, f"{series} is {len(found)} times in:\n{page}"
    return float(found[0])


def value_or_0(page: str, series: str) -> float:
    """Return the value of a series that is not there before it is counted."""
    return value(page, series) if f"\n{series} " in page else 0.0


def test_requests_tokens_and_times_are_counted(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client:
        reply = client.post("/v1/embed", json={"inputs": ["a b", "a b c d"]})
        assert client.post("/v1/embed", json={"inputs": []}).status_code == 422
        page = client.get("/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    embed = 'method="POST",route="/v1/embed"'
    expected = {
        f'polyseme_requests_total{{{embed},status="200"}}': 1,
        f'polyseme_requests_total{{{embed},status="422"}}': 1,
        'polyseme_request_seconds_count{route="/v1/embed"}': 2,
        'polyseme_refused_total{type="invalid_request"}': 1,
        "polyseme_tokenize_seconds_count": 1,
        "polyseme_serialize_seconds_count": 1,
        'polyseme_queue_seconds_count{model="fake"}': 2,
        'polyseme_tokens_total{model="fake"}': 4 + 6,  # boundaries counted
        'polyseme_cache_misses_total{model="fake"}': 4,
        'polyseme_queue_tokens{model="fake"}': 0,
        "polyseme_held_bytes": 0,
        "polyseme_fits": 0,
        "polyseme_ready": 1,
    }
    assert {series: value(page.text, series) for series in expected} == expected
    assert value(page.text, 'polyseme_reply_bytes_total{route="/v1/embed"}') > len(reply.content)
    assert value(page.text, "polyseme_resident_bytes") == pytest.approx(resident_bytes(), rel=0.2)
    batches = value(page.text, 'polyseme_compute_seconds_count{model="fake"}')
    assert batches == value(page.text, 'polyseme_batch_sentences_count{model="fake"}') == len(runtime.batches)
    padded = value(page.text, 'polyseme_padded_tokens_total{model="fake"}')
    assert padded == sum(max(lengths) * len(lengths) for lengths in runtime.batches)
    digest = "0" * 64
    assert value(page.text, f'polyseme_model_info{{dimension="4",model="fake",sha256="{digest}"}}') == 1
    assert re.search(r'^polyseme_build_info\{version="[^"]+"\} 1.0$', page.text, re.MULTILINE)


def test_what_alerts_wait_for_is_0_before_it_happens(runtime: FakeRuntime) -> None:
    """A rate is of what is added to a series, and says nothing of one that first appears as 1."""
    with serving_runtime(runtime) as client:
        page = client.get("/metrics").text
    for type in ("internal_error", "engine_failed", "store_unavailable", "queue_full", "deadline_exceeded"):
        assert value(page, f'polyseme_refused_total{{type="{type}"}}') == 0
    for cause in ("died", "hung"):
        assert value(page, f'polyseme_engine_restarts_total{{cause="{cause}",model="fake"}}') == 0


def test_a_queue_shows_its_depth_and_what_left_it(runtime: FakeRuntime) -> None:
    runtime.may_run.clear()
    with serving_runtime(runtime) as client:
        with hanging_up(client, "a"):
            wait_until(runtime.running.is_set)
        with hanging_up(client, "b c d"):
            wait_until(lambda: runtime.queue_depth() == 5)
        left = 'polyseme_requests_total{method="POST",route="/v1/embed",status="499"}'
        wait_until(lambda: value_or_0(client.get("/metrics").text, left) == 2)
        headers = {"X-Request-Timeout-Ms": "100"}
        assert client.post("/v1/embed", json={"inputs": ["e"]}, headers=headers).status_code == 504
        runtime.may_run.set()
        dropped = 'polyseme_dropped_total{cause="cancelled",model="fake"}'
        wait_until(lambda: value(client.get("/metrics").text, dropped) >= 1)
        page = client.get("/metrics").text
    assert value(page, 'polyseme_requests_total{method="POST",route="/v1/embed",status="504"}') == 1
    assert value(page, 'polyseme_refused_total{type="deadline_exceeded"}') == 1


def test_a_fit_is_counted_while_it_runs(runtime: FakeRuntime, tmp_path: Path) -> None:
    runtime.may_run.clear()
    with learning(SQLiteFile(tmp_path / "tasks.sqlite"), runtime) as client:
        body = {"kind": "classify", "examples": CLASSIFY}
        assert client.post("/v1/tasks/x/fit", json=body).status_code == 202
        assert value(client.get("/metrics").text, "polyseme_fits") == 1
        runtime.may_run.set()
        assert ended(client, "x")["state"] == "done"
        wait_until(lambda: value(client.get("/metrics").text, "polyseme_fits") == 0)


def test_labels_come_from_the_server_alone(client: httpx.Client) -> None:
    client.get("/secret-path")
    client.request("PROPFIND", "/v1/embed")
    client.get("/v1/embed")
    page = client.get("/metrics").text
    assert "secret" not in page
    assert "PROPFIND" not in page
    assert value(page, 'polyseme_requests_total{method="GET",route="unmatched",status="404"}') == 1
    assert value(page, 'polyseme_requests_total{method="GET",route="/v1/embed",status="405"}') == 1
    assert value(page, 'polyseme_requests_total{method="OTHER",route="/v1/embed",status="405"}') == 1


def test_every_name_is_ours_and_has_a_unit() -> None:
    metrics = Metrics()
    metrics.engine("m")
    page = metrics.exposition("")[0].decode()
    families = re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE)
    units = "seconds|bytes|tokens|sentences|fits|requests|requests_in_flight"
    counts = "ratio|refused|hits|misses|dropped|restarts|info|ready"
    for name, kind in families:
        assert re.fullmatch(rf"polyseme_(\w+_)?({units}|{counts})(_total)?", name), name
        assert name.endswith("_total") == (kind == "counter"), name


def test_openmetrics_for_those_who_prefer_it(client: httpx.Client) -> None:
    page = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert page.text.endswith("# EOF\n")


@pytest.mark.parametrize("version", ['"x"', "99999999999999999999.1", "", "a.b.c", "-1"])
def test_a_version_that_nobody_knows_is_the_one_that_we_know(client: httpx.Client, version: str) -> None:
    page = client.get("/metrics", headers={"Accept": f"application/openmetrics-text;version={version}"})
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")


@pytest.mark.parametrize("accept", [";;;,,,", "text/plain;version=x;q=1e400", "*/*", "image/png"])
def test_others_get_text(client: httpx.Client, accept: str) -> None:
    page = client.get("/metrics", headers={"Accept": accept})
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"

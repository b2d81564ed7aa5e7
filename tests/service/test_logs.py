"""The lines of the log, in both forms; never a client's text, a key or a stack trace."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import datetime

import httpx
import pytest

from service.exchange import Exchange
from service.logs import JsonLines, TextLines, log_exchange
from service.work import Work

LINE = r"method=POST route=/v1/embed status=200 ms=[\d.]+ bytes=\d+ model=fake tokens=3 id=abc"


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    logger = logging.getLogger("polyseme.test")
    exc_info = sys.exc_info() if error else None
    return logger.makeRecord(logger.name, logging.WARNING, "file.py", 1, message, arguments, exc_info)


def test_a_line_for_people() -> None:
    line = TextLines().format(record("%d of them", 3))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING polyseme.test: 3 of them", line)


def test_a_line_for_programs() -> None:
    document = json.loads(JsonLines().format(record("배 \ud800")))
    assert datetime.fromisoformat(document.pop("time")).utcoffset() is not None
    assert document == {"level": "WARNING", "logger": "polyseme.test", "message": "배 ?"}


@pytest.mark.parametrize("form", [TextLines(), JsonLines()])
def test_an_exception_is_its_class_and_place(form: logging.Formatter) -> None:
    try:
        raise RuntimeError("somebody's text")
    except RuntimeError:
        line = form.format(record("it failed", error=True))
    assert re.search(r"RuntimeError at test_logs\.py:\d+", line)
    assert "somebody's text" not in line
    assert "Traceback" not in line


def test_one_line_for_each_request(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        client.post("/v1/embed?key=secret", json={"inputs": ["secret"]}, headers={"X-Request-Id": "abc"})
        client.get("/secret")
        client.get("/readyz")
    lines = [record.getMessage() for record in caplog.records if record.name == "polyseme.access"]
    assert len(lines) == 2
    assert re.fullmatch(LINE, lines[0])
    assert lines[1].startswith("method=GET route=unmatched status=404 ")
    assert " error=not_found id=" in lines[1]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("polyseme")]
    assert "secret" not in "".join(ours)


def test_probes_are_for_those_who_debug(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="polyseme.access"):
        client.get("/readyz")
    assert caplog.messages[0].startswith("method=GET route=/readyz status=200 ")


def test_the_same_as_json(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.model, work.num_tokens = "enko", 7
    with caplog.at_level(logging.INFO):
        log_exchange(Exchange("abc", "POST", "/v1/embed", 200, None, 0.01234, 56, work))
    document = json.loads(JsonLines().format(caplog.records[0]))
    del document["time"]
    assert document == {
        "level": "INFO",
        "logger": "polyseme.access",
        "message": "request",
        "method": "POST",
        "route": "/v1/embed",
        "status": 200,
        "ms": 12.3,
        "bytes": 56,
        "model": "enko",
        "tokens": 7,
        "error": None,
        "id": "abc",
    }

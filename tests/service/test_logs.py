"""The lines of the log, in both forms; never a client's text, a key or a stack trace."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from service.exchange import Exchange
from service.logs import JsonLines, TextLines, log_exchange
from service.work import Work
from tests.service.processes import server_process
from tests.service.tiny_bundle import write_tiny_bundle

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


def test_a_process_writes_nothing_but_json_then(tmp_path: Path) -> None:
    key = "0123456789abcdef"
    bundle = write_tiny_bundle(tmp_path / "tiny").folder
    flags = ("--bundle", bundle, "--threads", "1", "--log-format", "json")
    with server_process(*flags, variables={"POLYSEME_API_KEYS": key}) as (server, client):
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": "abc"}
        client.post("/v1/embed", json={"inputs": ["secret"]}, headers=headers)
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
            connection.sendall(b"secret\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 400"
        client.close()
        server.popen.terminate()
        assert server.wait() == 0
    documents = [json.loads(line) for line in server.lines]
    lines = [(document["level"], document["logger"], document["message"]) for document in documents]
    assert lines[1:] == [
        ("INFO", "polyseme.access", "request"),
        ("WARNING", "uvicorn.error", "Invalid HTTP request received."),
        ("INFO", "polyseme", "stopping; 0 requests in flight"),
        ("INFO", "polyseme", "stopped"),
    ]
    assert (documents[1]["id"], documents[1]["status"], documents[1]["model"]) == ("abc", 200, "tiny")
    assert "secret" not in server.log
    assert key not in server.log

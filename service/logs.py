"""The log: one stream of lines on standard error, for people or as JSON, and one line for each request.

A record never shows a stack trace, only the class of an exception and the place that raised it: its message
could hold a client's text.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from service.errors import outline
from service.exchange import Exchange
from service.routes.health import PROBES
from service.settings import Settings

access = logging.getLogger("polyseme.access")


def set_up(settings: Settings) -> None:
    """Send every library's records through our form, unless somebody has taken the log over already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler])
    # uvicorn's own lines say nothing that ours do not, and those about a request hold what its client sent.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def log_exchange(exchange: Exchange) -> None:
    """Write the line of one request. Probes that go well are only for those who debug."""
    is_quiet = exchange.route in PROBES and exchange.status < 400
    level = logging.DEBUG if is_quiet else logging.INFO
    if access.isEnabledFor(level):
        fields = _fields(exchange)
        line = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        access.log(level, "%s", line, extra={"fields": fields})


def _fields(exchange: Exchange) -> dict[str, Any]:
    work = exchange.work
    return {
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ms": round(exchange.duration_s * 1000, 1),
        "bytes": exchange.reply_bytes,
        "model": work.model if work else None,
        "tokens": work.num_tokens if work else None,
        "error": exchange.error_type,
        "id": exchange.request_id,
    }


class TextLines(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO polyseme: serving ...`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatException(self, ei: Any) -> str:
        return outline(ei[1])

    def formatStack(self, stack_info: str) -> str:
        return ""


class JsonLines(TextLines):
    """One object a line: time (RFC 3339, UTC), level, logger, message, and for a request its fields."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        if fields is None:
            document["message"] = record.getMessage().encode("utf-8", "replace").decode()
        else:
            document["message"] = "request"
            document.update(fields)
        if record.exc_info and record.exc_info[1] is not None:
            document["exception"] = outline(record.exc_info[1])
        return orjson.dumps(document).decode()

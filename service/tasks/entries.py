"""A task as lists show it: without its head."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from service.task_store.records import TaskSummary


def entry(summary: TaskSummary) -> dict[str, Any]:
    """Return what GET /v1/tasks says of one task."""
    return {
        "name": summary.name,
        "kind": summary.kind,
        "model": summary.model,
        "model_sha256": summary.model_sha256,
        **json.loads(summary.summary),
        "created_at": instant(summary.created_at),
        "updated_at": instant(summary.updated_at),
        "size_bytes": summary.size_bytes,
    }


def instant(moment: datetime) -> str:
    """Return a moment in RFC 3339, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")

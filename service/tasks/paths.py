"""The paths that change tasks, for the layers around the routes: they need another key, and may be longer."""

from __future__ import annotations

import re

_FIT = re.compile(r"/v1/tasks/[^/]+/fit")
_TASK = re.compile(r"/v1/tasks/[^/]+")


def is_fit(path: str) -> bool:
    """Whether the path is that of a fit, or its template in the OpenAPI document."""
    return _FIT.fullmatch(path) is not None


def is_task(path: str) -> bool:
    """Whether the path is that of a task itself."""
    return _TASK.fullmatch(path) is not None

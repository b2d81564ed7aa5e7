"""How many replicas Ray Serve runs: as many as the tokens that wait for their engines call for.

Ray pickles this module whole and runs it in its controller, where nothing of ours is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

QUEUED_TOKENS = "queued_tokens"
"""Of one replica: the tokens that wait for its engines."""

BUSY = "busy"
"""Of one replica: the share of the time in which its engines ran, since it was last asked. A batch counts
when it ends."""

MOST_BUSY = 0.7
"""No replica is taken away when those that stay would be busier. An engine with room left has nearly no
queue: by its queue alone a full house looks like an empty one."""


class Context(Protocol):
    """What is used of ray.serve.config.AutoscalingContext."""

    target_num_replicas: int

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """By metric and replica: means over the last half minute."""
        ...


class QueuedTokens:
    """Ray Serve's autoscaling policy: `target` waiting tokens for each replica."""

    def __init__(self, target: int) -> None:
        self.target = target

    def __call__(self, context: Context) -> tuple[float, dict[str, Any]]:
        """Return how many replicas there should be; Ray keeps that between the bounds, and waits before it
        follows."""
        told = context.aggregated_metrics or {}
        if not told.get(QUEUED_TOKENS):  # no replica has said anything yet
            return context.target_num_replicas, {}
        wanted = math.ceil(sum(told[QUEUED_TOKENS].values()) / self.target)
        needed = math.ceil(sum(told[BUSY].values()) / MOST_BUSY)
        return max(wanted, min(needed, context.target_num_replicas)), {}

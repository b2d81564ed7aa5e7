"""How many replicas a queue calls for, by the same objects that Ray's controller uses."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from service.ray_scaling import QueuedTokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # those of Ray's own modules
    from ray.serve.config import AutoscalingContext


def wanted(queued: list[float], busy: list[float], replicas: int) -> float:
    """Return how many replicas the policy wants when these say so, with a target of 100 tokens."""
    ids: list[Any] = [f"replica {i}" for i in range(len(queued))]
    name: Any = "polyseme"
    told: dict[str, dict[Any, float]] = {}
    if queued:
        told = {
            "queued_tokens": dict(zip(ids, queued, strict=True)),
            "busy": dict(zip(ids, busy, strict=True)),
        }
    context = AutoscalingContext(
        deployment_id=name, deployment_name=name, app_name=name,
        current_num_replicas=len(queued), target_num_replicas=replicas, running_replicas=ids,
        total_num_requests=0, total_queued_requests=0, aggregated_metrics=lambda: told, raw_metrics=None,
        capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=9, policy_state={},
        last_scale_up_time=None, last_scale_down_time=None, current_time=None, config=None,
    )  # fmt: skip
    number, state = QueuedTokens(target=100)(context)
    assert state == {}
    return number


@pytest.mark.parametrize(
    ("queued", "busy", "replicas", "expected"),
    [
        ([100.0], [1.0], 1, 1),
        ([101.0], [1.0], 1, 2),
        ([50.0, 450.0], [1.0, 1.0], 2, 5),
        ([0.0, 0.0], [0.01, 0.0], 2, 1),  # nothing to do
        ([5.0, 5.0, 5.0], [0.6, 0.6, 0.5], 3, 3),  # two would be at 0.85
        ([5.0, 5.0, 5.0], [0.4, 0.4, 0.5], 3, 2),
        ([5.0], [0.9], 1, 1),  # busy, but nobody waits: a batch takes them all
        ([0.0], [0.0], 1, 0),  # Ray keeps the fewest that were asked for
    ],
)
def test_replicas_follow_the_queue_and_stay_while_they_are_busy(
    queued: list[float], busy: list[float], replicas: int, expected: int
) -> None:
    assert wanted(queued, busy, replicas) == expected


def test_replicas_that_have_said_nothing_yet_stay() -> None:
    assert wanted([], [], 3) == 3

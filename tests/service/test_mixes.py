"""What `task`, `tasks`, `mix` and `layer` ask for, as weights."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from service.errors import ServiceError
from service.mixes import Choice, Mix, MixStore, average, chosen
from service.schemas import EmbedRequest, MixRequest
from tests.service.given_mixes import GivenMixes

SENSE, POS = Mix((0.2, 0.3, 0.5), 1.5), Mix((1.0, 0.0, 0.0))
STORE = GivenMixes("abc", {"sense": SENSE, "품사": POS})


def choice(store: MixStore = STORE, **fields: Any) -> Choice:
    """Return the choice of a request to a model of three layers."""
    return asyncio.run(chosen(EmbedRequest(inputs=["a"], **fields), store, "abc", 3))


def refusal(store: MixStore = STORE, **fields: Any) -> tuple[str, str, str | None]:
    with pytest.raises(ServiceError) as caught:
        choice(store, **fields)
    return caught.value.type.name, caught.value.message, caught.value.where


@pytest.mark.parametrize(
    ("layer", "weights"),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        ("average", (1 / 3, 1 / 3, 1 / 3)),
        ("top", (0, 0, 1)),
        (0, (1, 0, 0)),
        (2, (0, 0, 1)),
    ],
)
def test_a_layer_is_a_mix(layer: object, weights: tuple[float, ...]) -> None:
    assert choice(layer=layer) == Mix(weights, 1.0)


def test_all_layers_are_no_mix() -> None:
    assert choice(layer="all") is None


def test_the_default_is_the_average() -> None:
    assert choice() == average(3)


def test_weights_are_taken_as_they_are() -> None:
    assert choice(mix=MixRequest(weights=[0.1, -0.3, 6], gamma=2)) == Mix((0.1, -0.3, 6.0), 2.0)


def test_scalars_go_through_softmax() -> None:
    mix = choice(mix=MixRequest(scalars=[0, math.log(2), math.log(5)], gamma=0.5))
    assert isinstance(mix, Mix)
    assert mix.weights == pytest.approx((1 / 8, 2 / 8, 5 / 8), abs=1e-7)
    assert mix.gamma == 0.5


def test_a_task_is_its_learned_mix() -> None:
    assert choice(task="sense") == SENSE


def test_several_tasks_keep_their_order() -> None:
    mixes = choice(tasks=["품사", "sense"])
    assert isinstance(mixes, dict)
    assert list(mixes.items()) == [("품사", POS), ("sense", SENSE)]


@pytest.mark.parametrize("layer", [3, -1, 10**30])
def test_a_layer_that_is_not_there(layer: int) -> None:
    message = f'expected "top", "average", "all" or a layer from 0 to 2, got the number {layer}'
    assert refusal(layer=layer) == ("invalid_request", message, "layer")


@pytest.mark.parametrize(
    ("mix", "message", "where"),
    [
        (MixRequest(), "expected one of weights and scalars, got neither", "mix"),
        (MixRequest(weights=[1.0], scalars=[1.0]), "expected one of weights and scalars, got both", "mix"),
        (MixRequest(weights=[1.0] * 2), "expected 3 numbers, one for each layer, got 2", "mix.weights"),
        (MixRequest(scalars=[]), "expected 3 numbers, one for each layer, got 0", "mix.scalars"),
    ],
)
def test_a_mix_that_does_not_fit(mix: MixRequest, message: str, where: str) -> None:
    assert refusal(mix=mix) == ("invalid_request", message, where)


WAYS: dict[str, Any] = {
    "task": "sense",
    "tasks": ["sense"],
    "mix": MixRequest(weights=[1.0, 0, 0]),
    "layer": 0,
}


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("second", WAYS)
def test_two_ways_at_once(first: str, second: str) -> None:
    if first == second:
        return
    one, other = sorted((first, second), key=list(WAYS).index)
    message = f"expected at most one of task, tasks, mix and layer, got {one} and {other}"
    assert refusal(**{name: WAYS[name] for name in (first, second)}) == ("invalid_request", message, other)


def test_a_task_twice() -> None:
    message = 'expected every task once, got the string "sense" twice'
    assert refusal(tasks=["sense", "품사", "sense"]) == ("invalid_request", message, "tasks[2]")


def test_a_task_that_is_not_there() -> None:
    message = "expected a task that was given, got another"
    assert refusal(task="other") == ("unknown_task", message, "task")
    assert refusal(tasks=["sense", "other"]) == ("unknown_task", message, "tasks[1]")


def test_a_task_of_another_model() -> None:
    store = GivenMixes("other", {"sense": SENSE})
    message = "expected the model of the task, got another"
    assert refusal(store, task="sense") == ("wrong_model", message, "task")

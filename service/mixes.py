"""Which layers a request asks for: a mix of all of them, several such mixes, or every layer by itself.

A mix is written into the request, or is one that was learned for a task and is kept under the task's name.

Shape letter: L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from model.scalar_mix import softmax_weights
from service.body import show
from service.choices import NamedLayer
from service.errors import ErrorType, ServiceError
from service.schemas import EmbedRequest, MixRequest


@dataclass(frozen=True, slots=True)
class Mix:
    """gamma x the sum of weights[l] x layer l."""

    weights: tuple[float, ...]  # L
    gamma: float = 1.0


Choice = Mix | Mapping[str, Mix] | None
"""One mix; several by the names of their tasks, in the order asked for; or None for every layer by itself."""


class MixStore(Protocol):
    """Where the mixes are that tasks have learned."""

    async def mix(self, model_sha256: str, name: str) -> Mix:
        """Return the mix that a task has learned on this model.

        Raises ServiceError: unknown_task when there is none of this name, wrong_model when it was learned on
        another model.
        """
        ...


async def named_mix(store: MixStore, model_sha256: str, name: str, where: str) -> Mix:
    """Return the mix of the task that a request names at `where`. Raises ServiceError as MixStore does."""
    try:
        return await store.mix(model_sha256, name)
    except ServiceError as error:
        raise ServiceError(error.type, error.message, where, error.headers) from None


async def chosen(body: EmbedRequest, store: MixStore, model_sha256: str, num_layers: int) -> Choice:
    """Return what a request asks of the layers. Raises ServiceError, also when it asks in two ways."""
    ways = {"task": body.task, "tasks": body.tasks, "mix": body.mix, "layer": body.layer}
    given = [name for name, value in ways.items() if value is not None]
    if len(given) > 1:
        message = f"expected at most one of task, tasks, mix and layer, got {' and '.join(given)}"
        raise ServiceError(ErrorType.invalid_request, message, given[1])
    if body.task is not None:
        return await named_mix(store, model_sha256, body.task, "task")
    if body.tasks is not None:
        return await _named_mixes(body.tasks, store, model_sha256)
    if body.mix is not None:
        return _inline(body.mix, num_layers)
    return of_layer(body.layer, num_layers)


def average(num_layers: int) -> Mix:
    """Return the mean of the layers, which a request gets that asks for nothing else."""
    return Mix((1 / num_layers,) * num_layers)


async def _named_mixes(names: Sequence[str], store: MixStore, model_sha256: str) -> dict[str, Mix]:
    mixes: dict[str, Mix] = {}
    for i, name in enumerate(names):
        if name in mixes:
            message = f"expected every task once, got {show(name)} twice"
            raise ServiceError(ErrorType.invalid_request, message, f"tasks[{i}]")
        mixes[name] = await named_mix(store, model_sha256, name, f"tasks[{i}]")
    return mixes


def of_layer(layer: NamedLayer | str | int | None, num_layers: int) -> Mix | None:
    """Return the mix of one layer or of all alike; None for every layer by itself. Raises ServiceError."""
    match layer:
        case "all":
            return None
        case None | "average":
            return average(num_layers)
        case "top":
            return _single(num_layers - 1, num_layers)
        case int() if 0 <= layer < num_layers:
            return _single(layer, num_layers)
    raise ServiceError(
        ErrorType.invalid_request,
        f'expected "top", "average", "all" or a layer from 0 to {num_layers - 1}, got {show(layer)}',
        "layer",
    )


def _single(layer: int, num_layers: int) -> Mix:
    return Mix(tuple(float(i == layer) for i in range(num_layers)))


def _inline(mix: MixRequest, num_layers: int) -> Mix:
    if (mix.weights is None) == (mix.scalars is None):
        came = "neither" if mix.weights is None else "both"
        raise ServiceError(
            ErrorType.invalid_request, f"expected one of weights and scalars, got {came}", "mix"
        )
    if mix.weights is not None:
        return Mix(_one_for_each_layer(mix.weights, "mix.weights", num_layers), mix.gamma)
    assert mix.scalars is not None
    scalars = _one_for_each_layer(mix.scalars, "mix.scalars", num_layers)
    return Mix(tuple(softmax_weights(scalars).tolist()), mix.gamma)


def _one_for_each_layer(values: Sequence[float], where: str, num_layers: int) -> tuple[float, ...]:
    if len(values) != num_layers:
        message = f"expected {num_layers} numbers, one for each layer, got {len(values)}"
        raise ServiceError(ErrorType.invalid_request, message, where)
    return tuple(values)

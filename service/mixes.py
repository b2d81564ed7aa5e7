"""Which layers a request asks for: one mix of all of them, or every layer by itself.

Shape letter: L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from model.scalar_mix import softmax_weights
from service.body import show
from service.errors import ErrorType, ServiceError
from service.schemas import MixRequest, NamedLayer


@dataclass(frozen=True, slots=True)
class Mix:
    """gamma x the sum of weights[l] x layer l."""

    weights: tuple[float, ...]  # L
    gamma: float = 1.0


def requested_mix(layer: NamedLayer | int | None, mix: MixRequest | None, num_layers: int) -> Mix | None:
    """Return the mix, or None for every layer. Raises ServiceError on two answers, or one that does not fit
    L."""
    if layer is not None and mix is not None:
        raise ServiceError(
            ErrorType.invalid_request, "expected at most one of layer and mix, got both", "layer"
        )
    if mix is not None:
        return _inline(mix, num_layers)
    match layer:
        case "all":
            return None
        case None | "average":
            return Mix((1 / num_layers,) * num_layers)
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

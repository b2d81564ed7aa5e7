"""What `layer` and `mix` ask for, as weights."""

from __future__ import annotations

import math

import pytest

from service.errors import ServiceError
from service.mixes import Mix, requested_mix
from service.schemas import MixRequest


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
    assert requested_mix(layer, None, 3) == Mix(weights, 1.0)  # type: ignore[arg-type]


def test_all_layers_are_no_mix() -> None:
    assert requested_mix("all", None, 3) is None


def test_weights_are_taken_as_they_are() -> None:
    mix = MixRequest(weights=[0.1, -0.3, 6], gamma=2)
    assert requested_mix(None, mix, 3) == Mix((0.1, -0.3, 6.0), 2.0)


def test_scalars_go_through_softmax() -> None:
    mix = requested_mix(None, MixRequest(scalars=[0, math.log(2), math.log(5)], gamma=0.5), 3)
    assert mix is not None
    assert mix.weights == pytest.approx((1 / 8, 2 / 8, 5 / 8), abs=1e-7)
    assert mix.gamma == 0.5


@pytest.mark.parametrize("layer", [3, -1, 10**30])
def test_a_layer_that_is_not_there(layer: int) -> None:
    with pytest.raises(ServiceError) as caught:
        requested_mix(layer, None, 3)
    assert (caught.value.type.name, caught.value.where) == ("invalid_request", "layer")
    assert caught.value.message == (
        f'expected "top", "average", "all" or a layer from 0 to 2, got the number {layer}'
    )


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
    with pytest.raises(ServiceError) as caught:
        requested_mix(None, mix, 3)
    assert (caught.value.type.name, caught.value.message, caught.value.where) == (
        "invalid_request",
        message,
        where,
    )


def test_a_layer_and_a_mix_at_once() -> None:
    with pytest.raises(ServiceError) as caught:
        requested_mix(0, MixRequest(weights=[1.0, 0, 0]), 3)
    assert caught.value.message == "expected at most one of layer and mix, got both"

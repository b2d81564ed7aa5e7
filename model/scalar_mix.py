"""The scalar mix: one vector per token from its L layers, gamma * sum over l of weights[l] * layers[l].

Shape letters: L layers, T tokens, D vector dim (2H).
Source: Peters et al. 2018 (arXiv:1802.05365), equation 1; there the weights are a softmax of learned scalars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Far above any useful coefficient, and far enough below float32's 3.4e38 that weight * gamma * layer is
# finite.
MAX_COEFFICIENT = 1e6


def softmax_weights(scalars_L: Sequence[float] | npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return exp(s_l) / sum of exp(s), float64 (L), which sums to 1.

    Raises ValueError when there is no scalar or one is not finite.
    """
    scalars = np.asarray(scalars_L, dtype=np.float64)
    if scalars.ndim != 1 or scalars.size == 0:
        raise ValueError(f"scalars: expected one or more numbers in a row, got shape {scalars.shape}")
    for index, value in enumerate(scalars):
        if not np.isfinite(value):
            raise ValueError(f"scalars[{index}]: expected a finite number, got {value}")
    # Without the maximum taken off, a scalar of 1,000 would overflow; the quotient is the same.
    with np.errstate(over="ignore"):  # a difference of -inf is right too: its exponential is 0
        exponentials = np.exp(scalars - scalars.max())
    weights: npt.NDArray[np.float64] = exponentials / exponentials.sum()
    return weights


def mix(
    layers_LTD: npt.NDArray[np.float32], weights_L: Sequence[float] | npt.NDArray[np.floating], gamma: float
) -> npt.NDArray[np.float32]:
    """Return gamma * sum over l of weights[l] * layers[l], float32 (T, D).

    Raises ValueError as check_mix does.
    """
    check_mix(weights_L, gamma, len(layers_LTD))
    coefficients_L = np.asarray(weights_L, dtype=np.float64) * gamma
    mixed: npt.NDArray[np.float32] = np.tensordot(coefficients_L.astype(np.float32), layers_LTD, axes=1)
    return mixed


def check_mix(weights_L: Sequence[float] | npt.NDArray[np.floating], gamma: float, num_layers: int) -> None:
    """Raise ValueError unless there is one weight for each layer, and all of them and gamma can be used."""
    if np.shape(weights_L) != (num_layers,):
        raise ValueError(f"weights: expected {num_layers}, one for each layer, got {_how_many(weights_L)}")
    named = [(f"weights[{index}]", value) for index, value in enumerate(weights_L)]
    for name, value in [*named, ("gamma", gamma)]:
        if not abs(value) <= MAX_COEFFICIENT:  # also when it is not a number
            limits = f"{-MAX_COEFFICIENT:,.0f} to {MAX_COEFFICIENT:,.0f}"
            raise ValueError(f"{name}: expected a number from {limits}, got {value}")


def _how_many(weights: Sequence[float] | npt.NDArray[np.floating]) -> str:
    shape = np.shape(weights)
    return str(shape[0]) if len(shape) == 1 else f"shape {shape}"

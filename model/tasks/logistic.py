"""Fit a mix and a linear head to labels, and choose how strongly the head is held back.

Shape letters: N examples, L layers, D vector dim, K labels, C columns (objective.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.tasks.calibration import Scored, cross_fitted, fit_temperature, log_losses, pooled
from model.tasks.moments import Doubles, Floats
from model.tasks.objective import Integers, Leash, Objective, Parameters
from model.tasks.preconditioner import SAMPLE_ROWS, Directions, Preconditioner
from model.tasks.watch import Watch

# How far a head may spread scores before labels have their say: the standard deviation, over examples, of a
# score whose weights are drawn from the prior that the penalty stands for. From little to much, so that each
# fit starts from a simpler one. Labelled sets of 40 to 20,000 examples chose 2 to 8.
SPREADS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
# Standard deviation of the scalars' prior, about equal shares: soft, and of no weight beside many examples.
_SCALAR_SPREAD = 2.0
# Where held-out examples preferred a fixed mix: as firm as ten times the loss's own curvature, so
# that the scalars move from it only for much.
_FIRM_TETHER = 0.5
# A layer that is held nearly alone outweighs each other by e^4: 96% of three.
_NEARLY_ALONE = 4.0
# How a scalar's loss curves, about (measured); only the optimiser's idea of a first step.
_SCALAR_CURVATURE = 0.05
# From here on the leading directions are looked for again.
_SCALARS_MOVED = 0.3

_MAX_STEPS = 100
# Along the path a relative gain in the objective below this ends a fit; the last fit, which is kept, is
# finer.
_PATH_TOLERANCE = 3e-4
_FINAL_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Fold:
    """One way to hold examples out: the objective on the others, and how to score these."""

    objective: Objective
    held_out_NLD: Floats | None  # None: rows of the objective's own features
    rows: Integers  # of the held-out examples, in whichever features they are
    targets_N: Integers


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best of a path: its spread, each fold's parameters there, and the held-out scores and log loss."""

    spread: float
    leash: Leash
    loss: float
    parameters: tuple[Parameters, ...]
    scored: Scored
    temperature: float


def start_parameters(objective: Objective, label_counts_K: Integers, num_layers: int, dim: int) -> Parameters:
    """Equal shares, no head, and the biases that give the labels' frequencies."""
    log_K = np.log(np.maximum(label_counts_K, 0.5))
    bias_C = log_K - log_K.mean() if objective.num_columns > 1 else log_K[1:] - log_K[:1]
    return Parameters(np.zeros((dim, objective.num_columns)), bias_C, np.zeros(num_layers))


def loose_leash(num_layers: int, num_examples: int) -> Leash:
    """Drawn to equal shares, by a prior with the weight of one example among all."""
    return Leash(np.zeros(num_layers), 1 / (_SCALAR_SPREAD**2 * num_examples))


def firm_leash(scalars_L: Doubles) -> Leash:
    return Leash(scalars_L - scalars_L.mean(), _FIRM_TETHER)


def nearly_alone(layer: int, num_layers: int) -> Doubles:
    """Return scalars that give one layer nearly all shares."""
    scalars_L = np.zeros(num_layers)
    scalars_L[layer] = _NEARLY_ALONE
    return scalars_L


def choose(
    features_NLD: Floats,
    folds: Sequence[Fold],
    starts: Sequence[Parameters],
    leash: Leash,
    spreads: Sequence[float],
    watch: Watch,
) -> Chosen:
    """Fit each fold, from its start, along the path of spreads, until held-out examples get worse; return the
    best.

    Worse is a higher mean log loss of calibrated probabilities: the same head, only surer of itself, is
    neither.
    """
    at = list(starts)
    view = View.of(folds[0].objective, at[0].scalars_L)
    best: Chosen | None = None
    for spread in spreads:
        view = view.at(folds[0].objective, at[0].scalars_L)
        at = [
            minimise(fold.objective, start, spread, leash, _PATH_TOLERANCE, view.directions, watch)
            for fold, start in zip(folds, at, strict=True)
        ]
        scored = pooled([_held_out_scores(fold, p, features_NLD) for fold, p in zip(folds, at, strict=True)])
        loss = float(log_losses(cross_fitted(scored), scored.targets_N).mean())
        if best is not None and loss >= best.loss:
            break
        best = Chosen(spread, leash, loss, tuple(at), scored, fit_temperature(scored))
    assert best is not None
    return best


@dataclass(frozen=True, slots=True)
class View:
    """The leading directions of a mix, and the scalars at which it was looked at."""

    scalars_L: Doubles
    directions: Directions

    @classmethod
    def of(cls, objective: Objective, scalars_L: Doubles) -> View:
        return cls(scalars_L, Directions.find(objective.sample(scalars_L, SAMPLE_ROWS)))

    def at(self, objective: Objective, scalars_L: Doubles) -> View:
        """Look again when the mix has become another; a rough idea of its directions is enough."""
        moved = float(np.abs(scalars_L - self.scalars_L).max())
        return self if moved < _SCALARS_MOVED else View.of(objective, scalars_L)


def refit(objective: Objective, chosen: Chosen, watch: Watch) -> Parameters:
    """The fit that is kept, as it was chosen, from the first fold's."""
    start = chosen.parameters[0]
    directions = View.of(objective, start.scalars_L).directions
    return minimise(objective, start, chosen.spread, chosen.leash, _FINAL_TOLERANCE, directions, watch)


def minimise(
    objective: Objective,
    start: Parameters,
    spread: float,
    leash: Leash,
    tolerance: float,
    directions: Directions,
    watch: Watch,
) -> Parameters:
    """L-BFGS from `start`, in variables in which the head's loss curves alike in all directions.

    Raises Cancelled; the watch is asked before every evaluation.
    """
    from scipy.optimize import minimize  # not at import: a server that fits nothing does without

    dim, num_columns = start.head_DC.shape
    penalty = dim / (spread**2 * objective.num_examples)
    curvature = objective.curvature
    change = Preconditioner.of(directions, curvature, penalty * objective.penalised)
    bias_scale = 1 / np.sqrt(curvature)
    scalar_scale = 1 / np.sqrt(_SCALAR_CURVATURE + leash.tether)

    def parameters(flat: Doubles) -> Parameters:
        head, bias_C, scalars_L = np.split(flat, [dim * num_columns, (dim + 1) * num_columns])
        head_DC = change.apply(head.reshape(dim, num_columns))
        return Parameters(head_DC, bias_C * bias_scale, scalars_L * scalar_scale)

    def value_and_gradient(flat: Doubles) -> tuple[float, Doubles]:
        watch.step()
        result = objective.evaluate(parameters(flat), penalty, leash)
        gradient = result.gradient
        parts = (change.apply(gradient.head_DC).ravel(), gradient.bias_C * bias_scale)
        return result.value, np.concatenate([*parts, gradient.scalars_L * scalar_scale])

    flat = np.concatenate(
        [change.solve(start.head_DC).ravel(), start.bias_C / bias_scale, start.scalars_L / scalar_scale]
    )
    options = {"maxiter": _MAX_STEPS, "maxls": 30, "ftol": tolerance, "gtol": 1e-6}
    found = minimize(value_and_gradient, flat, jac=True, method="L-BFGS-B", options=options)
    return parameters(found.x)


def _held_out_scores(fold: Fold, at: Parameters, features_NLD: Floats) -> Scored:
    source = features_NLD if fold.held_out_NLD is None else fold.held_out_NLD
    scores_NK = fold.objective.scores(at, source, fold.rows)
    return Scored(scores_NK, np.zeros(scores_NK.shape), fold.targets_N)

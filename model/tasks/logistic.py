"""Fit a mix and a linear head to labels, and choose how strongly the head is held back.

Shape letters: N examples, L layers, D vector dim, K labels, C columns (objective.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.tasks.calibration import Scored, cross_fitted, fit_temperature, log_losses, pooled
from model.tasks.moments import Doubles, Floats
from model.tasks.objective import Integers, Leash, Objective, Parameters
from model.tasks.preconditioner import SAMPLE_ROWS, Directions, Preconditioner
from model.tasks.watch import Watch

# How far a head may spread scores before labels have their say: the standard deviation, over examples, of a
# score whose weights are drawn from the prior that the penalty stands for. Labelled sets of 40 to 20,000
# examples chose 2 to 8.
SPREADS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
FIRST_SPREAD = 2.0
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
# finer: within a thousandth of the optimum (of 50 and 17 labels; a tenth of that took three times as long and
# changed no held-out number).
_PATH_TOLERANCE = 3e-4
_FINAL_TOLERANCE = 2e-5
# A loss that is all but 0 is flat; without a head to hold it back a bias would take any step.
_LEAST_CURVATURE = 1e-4


@dataclass(frozen=True, slots=True)
class Fold:
    """One way to hold examples out: the objective on the others, and how to score these."""

    objective: Objective
    held_out_NLD: Floats | None  # None: rows of the objective's own features
    rows: Integers  # of the held-out examples, in whichever features they are
    targets_N: Integers


@dataclass(frozen=True, slots=True)
class Point:
    """Where a fit stands, and how the loss curves there in each column's scores: what the next one starts
    from."""

    parameters: Parameters
    curvature_C: Doubles


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best of a path: its spread, where each fold's fit ended, and the held-out scores and log loss."""

    spread: float
    leash: Leash
    loss: float
    points: tuple[Point, ...]
    scored: Scored
    tried: tuple[Scored, ...]  # at every spread of the path
    temperature: float


def first_point(objective: Objective, label_counts_K: Integers, num_layers: int, dim: int) -> Point:
    """Equal shares, no head, and the biases that give the labels' frequencies."""
    log_K = np.log(np.maximum(label_counts_K, 0.5))
    bias_C = log_K - log_K.mean() if objective.num_columns > 1 else log_K[1:] - log_K[:1]
    parameters = Parameters(np.zeros((dim, objective.num_columns)), bias_C, np.zeros(num_layers))
    return Point(parameters, objective.curvature_C)


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
    starts: Sequence[Point],
    leash: Leash,
    first_spread: float,
    watch: Watch,
) -> Chosen:
    """Fit each fold at the first spread, then at larger ones until held-out examples get worse; where the
    first step up is for the worse, at smaller ones. Each fit starts where its neighbour ended. Return the
    best.

    Worse is a higher mean log loss of calibrated probabilities: the same head, only surer of itself, is
    neither.
    """
    view = View.of(folds[0].objective, starts[0].parameters.scalars_L)

    def at(spread: float, starts: Sequence[Point]) -> Chosen:
        nonlocal view
        view = view.at(folds[0].objective, starts[0].parameters.scalars_L)
        return _fitted(features_NLD, folds, starts, leash, spread, view.directions, watch)

    best = first = at(first_spread, starts)
    tried = [first.scored]
    for spreads in (
        [spread for spread in SPREADS if spread > first_spread],
        [spread for spread in reversed(SPREADS) if spread < first_spread],
    ):
        for spread in spreads:
            found = at(spread, best.points)
            tried.append(found.scored)
            if found.loss >= best.loss:
                break
            best = found
        if best is not first:
            break
    return replace(best, tried=tuple(tried))


def choose_near(
    features_NLD: Floats, folds: Sequence[Fold], fixed: Chosen, leash: Leash, watch: Watch
) -> Chosen:
    """Go on from a fixed mix, at its spread, all layers taking part, drawn to the leash's anchor."""
    starts = [
        Point(Parameters(p.parameters.head_DC, p.parameters.bias_C, leash.anchor_L), p.curvature_C)
        for p in fixed.points
    ]
    directions = View.of(folds[0].objective, leash.anchor_L).directions
    return _fitted(features_NLD, folds, starts, leash, fixed.spread, directions, watch)


def _fitted(
    features_NLD: Floats,
    folds: Sequence[Fold],
    starts: Sequence[Point],
    leash: Leash,
    spread: float,
    directions: Directions,
    watch: Watch,
) -> Chosen:
    points = [
        minimise(fold.objective, start, spread, leash, _PATH_TOLERANCE, directions, watch)
        for fold, start in zip(folds, starts, strict=True)
    ]
    scored = pooled(
        [_held_out_scores(fold, p.parameters, features_NLD) for fold, p in zip(folds, points, strict=True)]
    )
    loss = float(log_losses(cross_fitted([scored]), scored.targets_N).mean())
    return Chosen(spread, leash, loss, tuple(points), scored, (scored,), fit_temperature(scored))


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
    start = chosen.points[0]
    directions = View.of(objective, start.parameters.scalars_L).directions
    found = minimise(objective, start, chosen.spread, chosen.leash, _FINAL_TOLERANCE, directions, watch)
    return found.parameters


def minimise(
    objective: Objective,
    start: Point,
    spread: float,
    leash: Leash,
    tolerance: float,
    directions: Directions,
    watch: Watch,
) -> Point:
    """L-BFGS from `start`, in variables in which the head's loss curves alike in all directions.

    Raises Cancelled; the watch is asked before every evaluation.
    """
    from scipy.optimize import minimize  # not at import: a server that fits nothing does without

    begin = start.parameters
    dim, num_columns = begin.head_DC.shape
    penalty = dim / (spread**2 * objective.num_examples)
    curvature_C = np.maximum(start.curvature_C, _LEAST_CURVATURE)
    change = Preconditioner.of(directions, curvature_C, penalty * objective.penalised)
    bias_scale_C = 1 / np.sqrt(curvature_C)
    scalar_scale = 1 / np.sqrt(_SCALAR_CURVATURE + leash.tether)

    def parameters(flat: Doubles) -> Parameters:
        head, bias_C, scalars_L = np.split(flat, [dim * num_columns, (dim + 1) * num_columns])
        head_DC = change.apply(head.reshape(dim, num_columns))
        return Parameters(head_DC, bias_C * bias_scale_C, scalars_L * scalar_scale)

    def value_and_gradient(flat: Doubles) -> tuple[float, Doubles]:
        nonlocal curvature_C
        watch.step()
        result = objective.evaluate(parameters(flat), penalty, leash)
        curvature_C, gradient = result.curvature_C, result.gradient
        parts = (change.apply(gradient.head_DC).ravel(), gradient.bias_C * bias_scale_C)
        return result.value, np.concatenate([*parts, gradient.scalars_L * scalar_scale])

    flat = np.concatenate(
        [change.solve(begin.head_DC).ravel(), begin.bias_C / bias_scale_C, begin.scalars_L / scalar_scale]
    )
    options = {"maxiter": _MAX_STEPS, "maxls": 30, "ftol": tolerance, "gtol": 1e-6}
    found = minimize(value_and_gradient, flat, jac=True, method="L-BFGS-B", options=options)
    return Point(parameters(found.x), curvature_C)


def _held_out_scores(fold: Fold, at: Parameters, features_NLD: Floats) -> Scored:
    source = features_NLD if fold.held_out_NLD is None else fold.held_out_NLD
    scores_NK = fold.objective.scores(at, source, fold.rows)
    return Scored(scores_NK, np.zeros(scores_NK.shape), fold.targets_N)

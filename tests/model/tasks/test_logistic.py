from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from model.tasks.logistic import (
    SPREADS,
    Fold,
    Point,
    View,
    choose,
    firm_leash,
    first_point,
    loose_leash,
    minimise,
    nearly_alone,
    refit,
)
from model.tasks.moments import Floats, measure
from model.tasks.objective import Integers, Leash, Objective
from model.tasks.watch import Cancelled, Watch
from tests.model.made_up_tasks import labelled_layers

DIM = 5
NUM_EXAMPLES = 90


def nothing() -> None:
    pass


def watch(cancelled: bool = False) -> Watch:
    return Watch(lambda _: None, lambda: cancelled)


def labelled(num_labels: int, noise: float = 0.2) -> tuple[Floats, Integers]:
    """noise: the share of examples with any label."""
    features_NLD, labels = labelled_layers(NUM_EXAMPLES, 1, num_labels, DIM)
    targets_N = np.array([int(label[-3:]) for label in labels])
    random = np.random.default_rng(0)
    is_any_N = random.random(NUM_EXAMPLES) < noise
    return features_NLD, np.where(is_any_N, random.integers(0, num_labels, NUM_EXAMPLES), targets_N)


def over(features_NLD: Floats, targets_N: Integers, num_labels: int) -> Objective:
    return Objective(features_NLD, targets_N, num_labels, measure(features_NLD, nothing), nothing)


def start(objective: Objective, targets_N: Integers, num_labels: int) -> Point:
    counts_K = np.bincount(targets_N[targets_N >= 0], minlength=num_labels)
    return first_point(objective, counts_K, num_layers=3, dim=DIM)


def folds(features_NLD: Floats, targets_N: Integers, num_labels: int) -> list[Fold]:
    """Each third of the examples is held out once."""
    made = []
    for third in range(3):
        rows = np.arange(third, NUM_EXAMPLES, 3)
        kept_N = targets_N.copy()
        kept_N[rows] = -1
        made.append(Fold(over(features_NLD, kept_N, num_labels), None, rows, targets_N[rows]))
    return made


@pytest.mark.parametrize("num_labels", [2, 4])
def test_without_a_head_each_label_has_its_frequency(num_labels: int) -> None:
    features_NLD, targets_N = labelled(num_labels)
    objective = over(features_NLD, targets_N, num_labels)
    scores_NK = objective.scores(
        start(objective, targets_N, num_labels).parameters, features_NLD, np.arange(NUM_EXAMPLES)
    )
    shares_NK = np.exp(scores_NK) / np.exp(scores_NK).sum(axis=1, keepdims=True)
    frequencies_K = np.bincount(targets_N, minlength=num_labels) / NUM_EXAMPLES
    np.testing.assert_allclose(shares_NK, np.tile(frequencies_K, (NUM_EXAMPLES, 1)), atol=1e-6)


@pytest.mark.parametrize("num_labels", [2, 4])
def test_with_a_mix_that_stands_fast_the_head_is_scikit_learn_s(num_labels: int) -> None:
    features_NLD, targets_N = labelled(num_labels)
    objective = over(features_NLD, targets_N, num_labels)
    begin = start(objective, targets_N, num_labels)
    unmoved = Leash(np.zeros(3), 1e9)
    directions = View.of(objective, np.zeros(3)).directions
    found = minimise(objective, begin, 2.0, unmoved, 1e-12, directions, watch()).parameters
    np.testing.assert_allclose(found.scalars_L, 0, atol=1e-6)

    variances_L = features_NLD.astype(np.float64).var(axis=0).mean(axis=1)
    mixed_ND = (features_NLD / np.sqrt(variances_L)[:, None]).mean(axis=1)
    variance_D = mixed_ND.var(axis=0)
    standard_ND = (mixed_ND - mixed_ND.mean(axis=0)) / np.sqrt(variance_D + 0.01 * variance_D.mean())
    # The penalty is D / spread^2 on the sum of all losses. Of two labels scikit-learn has one column too, but
    # with the whole square.
    strength = 2.0**2 / DIM * (2 if num_labels == 2 else 1)
    expected = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000).fit(standard_ND, targets_N)
    probabilities_NK = expected.predict_proba(standard_ND)
    scores_NK = objective.scores(found, features_NLD, np.arange(NUM_EXAMPLES))
    shares_NK = np.exp(scores_NK) / np.exp(scores_NK).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares_NK, probabilities_NK, atol=1e-3)


def test_where_it_starts_changes_nothing() -> None:
    features_NLD, targets_N = labelled(3)
    objective = over(features_NLD, targets_N, 3)
    begin, leash = start(objective, targets_N, 3), loose_leash(3, NUM_EXAMPLES)
    directions = View.of(objective, np.zeros(3)).directions
    loose = minimise(objective, begin, 8.0, leash, 1e-9, directions, watch())
    ends = [
        minimise(objective, point, 2.0, leash, 1e-12, directions, watch()).parameters
        for point in (begin, loose)
    ]
    np.testing.assert_allclose(ends[0].head_DC, ends[1].head_DC, atol=5e-3)
    np.testing.assert_allclose(ends[0].scalars_L, ends[1].scalars_L, atol=5e-3)


def chosen_spread(noise: float, first_spread: float) -> tuple[float, float]:
    """Return the spread that is best on held-out examples, and their log loss."""
    features_NLD, targets_N = labelled(3, noise)
    held_out = folds(features_NLD, targets_N, 3)
    starts = [start(fold.objective, np.delete(targets_N, fold.rows), 3) for fold in held_out]
    leash = loose_leash(3, NUM_EXAMPLES)
    chosen = choose(features_NLD, held_out, starts, leash, first_spread, watch())
    np.testing.assert_array_equal(np.sort(chosen.scored.targets_N), np.sort(targets_N))
    return chosen.spread, chosen.loss


def test_noisy_labels_hold_the_head_back_whatever_was_tried_first() -> None:
    for first_spread in (0.5, 2.0, 16.0):
        clean, clean_loss = chosen_spread(0.0, first_spread)
        noisy, noisy_loss = chosen_spread(0.7, first_spread)
        assert SPREADS[0] <= noisy < clean <= SPREADS[-1]
        assert clean_loss < noisy_loss < np.log(3) + 0.02, "about what knowing nothing would cost"


def test_the_kept_fit_is_better_than_the_fold_it_starts_from() -> None:
    features_NLD, targets_N = labelled(3)
    held_out = folds(features_NLD, targets_N, 3)
    leash = loose_leash(3, NUM_EXAMPLES)
    starts = [start(fold.objective, np.delete(targets_N, fold.rows), 3) for fold in held_out]
    chosen = choose(features_NLD, held_out, starts, leash, 2.0, watch())
    objective = over(features_NLD, targets_N, 3)
    penalty = DIM / (chosen.spread**2 * NUM_EXAMPLES)
    kept = refit(objective, chosen, watch())
    values = [objective.evaluate(at, penalty, leash).value for at in (chosen.points[0].parameters, kept)]
    assert values[1] < values[0]


def test_leashes_and_scalars() -> None:
    loose = loose_leash(3, num_examples=50)
    np.testing.assert_array_equal(loose.anchor_L, [0, 0, 0])
    assert loose.tether == 1 / (2**2 * 50)
    firm = firm_leash(np.array([3.0, 0.0, 0.0]))
    np.testing.assert_allclose(firm.anchor_L, [2, -1, -1])
    scalars_L = nearly_alone(1, 3)
    shares_L = np.exp(scalars_L) / np.exp(scalars_L).sum()
    np.testing.assert_allclose(shares_L, [0.0177, 0.9647, 0.0177], atol=1e-4)


def test_it_stops_when_nobody_wants_it() -> None:
    features_NLD, targets_N = labelled(3)
    objective = over(features_NLD, targets_N, 3)
    directions = View.of(objective, np.zeros(3)).directions
    begin, leash = start(objective, targets_N, 3), loose_leash(3, NUM_EXAMPLES)
    with pytest.raises(Cancelled):
        minimise(objective, begin, 2.0, leash, 1e-3, directions, watch(cancelled=True))

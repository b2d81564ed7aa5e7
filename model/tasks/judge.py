"""From held-out scores to a report: the table, the tests, and what they come to in words.

Shape letters: N held-out examples, L layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np

from model.tasks.calibration import (
    LOWEST_TEMPERATURE,
    Candidates,
    Doubles,
    Integers,
    Scored,
    cross_fitted,
    expected_calibration_error,
    fit_temperature,
    log_losses,
)
from model.tasks.report import (
    LEARNED,
    LEARNED_WITH_TEXT,
    MAJORITY,
    AgainstLayer,
    AgainstMajority,
    Calibration,
    Report,
    Row,
    Setting,
    layer_name,
)
from model.tasks.statistics import (
    Booleans,
    chance_of_more_right,
    chance_of_so_low_a_loss,
    difference_interval,
    macro_recall,
    wilson_interval,
)


@dataclass(frozen=True, slots=True)
class _Judged:
    row: Row
    right_N: Booleans
    probabilities_NK: Doubles


def judge(
    setting: Setting,
    scored: Iterable[tuple[str, Candidates]],
    majority_right_N: Booleans,
    classes_N: Integers,
    strata_N: Integers,
) -> Report:
    """scored, taken one by one, of the same examples in the same order: "majority", each layer, "equal",
    "learned", and for `sense` "learned + text". The last is what the task predicts with.

    majority_right_N: where the most frequent label is right. classes_N: what macro recall is the mean over.
    strata_N: equal where labels are of one kind (a word's senses), and could have been dealt otherwise.
    """
    judged = {}
    for name, each in scored:
        # Frequencies may tell less than they look, never more: so few as they are, they are no scores.
        lowest = 1.0 if name == MAJORITY else LOWEST_TEMPERATURE
        probabilities_NK = cross_fitted(each.tried, lowest)
        targets_N = each.chosen.targets_N
        right_N = probabilities_NK.argmax(axis=1) == targets_N
        if name == MAJORITY:
            right_N = majority_right_N
        own = judged[name] = _judge(name, right_N, probabilities_NK, targets_N, classes_N)
        chosen = each.chosen
    against_majority = AgainstMajority(
        chance_of_more_right(own.right_N, judged[MAJORITY].right_N),
        chance_of_so_low_a_loss(
            own.probabilities_NK,
            chosen.targets_N,
            strata_N,
            is_cross_fitted=setting.held_out == "folds",
        ),
    )
    layers = range(len(setting.weights))
    # Of equals the first.
    best = max(layers, key=lambda layer: judged[layer_name(layer)].row.accuracy)
    against_layer = AgainstLayer(
        best, *difference_interval(judged[LEARNED].right_N, judged[layer_name(best)].right_N)
    )
    calibration = _calibration(chosen, own.probabilities_NK)
    rows = tuple(each.row for each in judged.values())
    return Report(
        **{field.name: getattr(setting, field.name) for field in fields(Setting)},
        num_held_out=len(classes_N),
        rows=rows,
        calibration=calibration,
        against_majority=against_majority,
        against_layer=against_layer,
        verdict=verdict(
            setting, len(classes_N), {row.name: row for row in rows}, against_majority, against_layer
        ),
    )


def verdict(
    setting: Setting,
    num_held_out: int,
    rows: Mapping[str, Row],
    against_majority: AgainstMajority,
    against_layer: AgainstLayer,
) -> str:
    """The report in words."""
    own, majority = rows.get(LEARNED_WITH_TEXT, rows[LEARNED]), rows[MAJORITY]
    what = "the learned mix" if own.name == LEARNED else "the learned mix with the text"
    always = "each word's most frequent sense" if setting.method != "logistic" else "the most frequent label"
    found = (
        f"On {num_held_out:,} held-out examples {what} is right in {_percent(own.accuracy)} "
        f"({_percent(own.accuracy_low)} to {_percent(own.accuracy_high)}), "
        f"always answering {always} in {_percent(majority.accuracy)}."
    )
    if not against_majority.told_apart:
        parts = [f"Your labels cannot be told apart from chance. {found}"]
    elif 2 * against_majority.chance_by_accuracy < 0.05:
        parts = [found]
    else:
        parts = [
            f"{found} By the answers alone that is no clear gain; the probabilities do tell the labels apart "
            f"(log loss {own.log_loss:.3f} against {majority.log_loss:.3f})."
        ]
    if against_majority.told_apart:
        parts.append(_against_layer_in_words(against_layer, rows))
    if setting.never_held_out:
        parts.append(
            f"Nothing is known about {_some(setting.never_held_out)}: with examples in one place only, "
            "they were never held out."
        )
    return " ".join(parts)


def _against_layer_in_words(against: AgainstLayer, rows: Mapping[str, Row]) -> str:
    layer = layer_name(against.layer)
    mix = "The learned mix"
    if LEARNED_WITH_TEXT in rows:
        mix = f"Without the text, right in {_percent(rows[LEARNED].accuracy)}, the mix"
    if against.low > 0:
        how = f"{mix} is better than {layer}, the best single one"
    elif against.high < 0:
        how = f"{mix} is worse than {layer}"
    else:
        how = f"{mix} is not measurably better than {layer} alone"
    return (
        f"{how} ({_percent(rows[layer].accuracy)}; difference {100 * against.difference:+.1f} points, "
        f"{100 * against.low:+.1f} to {100 * against.high:+.1f})."
    )


def _some(labels: tuple[str, ...]) -> str:
    named = ", ".join(labels[:3])
    return (
        f"{len(labels)} label{'s' if len(labels) > 1 else ''} ({named}{', ...' if len(labels) > 3 else ''})"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _judge(
    name: str, right_N: Booleans, probabilities_NK: Doubles, targets_N: Integers, classes_N: Integers
) -> _Judged:
    losses_N = log_losses(probabilities_NK, targets_N)
    num_right = int(right_N.sum())
    low, high = wilson_interval(num_right, len(right_N))
    row = Row(
        name,
        num_right / len(right_N),
        low,
        high,
        macro_recall(right_N, classes_N),
        float(losses_N.mean()) if len(losses_N) else 0.0,
    )
    return _Judged(row, right_N, probabilities_NK)


def _calibration(scored: Scored, probabilities_NK: Doubles) -> Calibration:
    return Calibration(
        temperature=fit_temperature(scored),
        error_before=expected_calibration_error(scored.probabilities(1.0), scored.targets_N),
        error_after=expected_calibration_error(probabilities_NK, scored.targets_N),
    )


def majority_scored(counts_NK: Doubles, targets_N: Integers) -> Scored:
    """Score each example's labels by how often they occur, as logarithms; a label that does not is no
    choice."""
    occurs_NK = counts_NK > 0
    scores_NK = np.where(occurs_NK, np.log(np.where(occurs_NK, counts_NK, 1.0)), -np.inf)
    return Scored(scores_NK, np.zeros(counts_NK.shape), targets_N)

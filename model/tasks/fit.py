"""Learn a task from labelled examples: the mix, the head and the report.

Beside the features a fit holds the mean of their layers (1/L of their size; for `sense` the mixed vectors),
and little else. Frequencies are left as they are: probabilities are those of examples as frequent as the ones
given, which is what calibration can promise; the report shows macro recall beside accuracy.

Shape letters: N examples, L layers, C = L + 1 for `sense` and L otherwise, D vector dim, K labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from model.scalar_mix import softmax_weights
from model.tasks.blas import one_blas_thread
from model.tasks.calibration import Candidates, cross_fitted, log_losses
from model.tasks.examples import (
    MIN_EXAMPLES,
    Examples,
    Floats,
    Integers,
    group_numbers,
    held_out_name,
    indices,
    num_groups_of_each,
)
from model.tasks.head import LinearHead, SenseHead
from model.tasks.judge import judge, majority_scored
from model.tasks.logistic import (
    FIRST_SPREAD,
    Chosen,
    Fold,
    choose,
    choose_near,
    firm_leash,
    first_point,
    loose_leash,
    nearly_alone,
    refit,
)
from model.tasks.moments import Doubles, Moments, measure, unit_gamma
from model.tasks.objective import Leash, Map, Objective
from model.tasks.report import EQUAL, LEARNED, MAJORITY, Report, Setting, layer_name
from model.tasks.sense import fit_senses
from model.tasks.split import split_examples
from model.tasks.statistics import chance_of_lower_loss
from model.tasks.task import Kind, Task
from model.tasks.watch import Watch

# Evaluations along one path of spreads, about; progress is reckoned with it.
_STEPS_OF_A_PATH = 40
_STEPS_OF_A_REFIT = 15
# How likely a lead of one standard error or more is by chance.
_ONE_ERROR = 0.159


@dataclass(frozen=True, eq=False)
class Fitted:
    """All of a task but its name and its model."""

    kind: Kind
    scalars: tuple[float, ...]
    gamma: float
    labels: tuple[str, ...]
    head: LinearHead | SenseHead
    report: Report

    def task(self, name: str, model: str, model_sha256: str) -> Task:
        return Task(
            name,
            self.kind,
            model,
            model_sha256,
            self.scalars,
            self.gamma,
            self.labels,
            self.head,
            self.report,
        )


def fit(
    kind: Kind,
    features_NCD: Floats,
    labels: Sequence[str],
    words: Sequence[str] | None = None,
    *,
    groups: Sequence[int] | Integers | None = None,
    dev: Examples | None = None,
    num_threads: int = 1,
    progress: Callable[[float], None] = lambda share: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Fitted:
    """Learn from examples; the same examples give the same task, to the last bit.

    features_NCD: float32, every layer's vectors, pooled as they will be in requests; may be memory-mapped.
    For `sense` the global context stands after them, the mean of all token vectors (layer 0) of the text.
    words: for `sense`, the word of each example. groups: examples of one group are never on both sides of a
    split (the sentence of each word, say); without, each example is a group. dev: judge on these, fit on all
    of the others; without, a fifth is held out, or up to 1,000 examples each fifth in turn, and the task is
    then fitted on all. num_threads: which share the passes over many examples; they change nothing in the
    task. progress is called with 0 to 1, never falling; cancelled is asked many times a second.
    Raises ValueError when parts do not fit together or there is too little to learn from, Cancelled when told
    to stop.
    """
    train = Examples(features_NCD, labels, words)
    train.check(kind, "examples")
    if dev is not None:
        dev.check(kind, "dev")
        if dev.features_NCD.shape[1:] != features_NCD.shape[1:] or not len(dev.features_NCD):
            expected = ", ".join(map(str, features_NCD.shape[1:]))
            raise ValueError(f"dev: expected (1 or more, {expected}), got {dev.features_NCD.shape}")
    if len(labels) < MIN_EXAMPLES:
        raise ValueError(f"examples: expected at least {MIN_EXAMPLES}, got {len(labels)}")
    groups_N = group_numbers(groups, len(labels))
    watch = Watch(progress, cancelled)
    with one_blas_thread(), ThreadPoolExecutor(num_threads, thread_name_prefix="polyseme-pass") as threads:
        if kind == "sense":
            found = fit_senses(train, groups_N, dev, watch)
            fitted = Fitted(kind, found.scalars, found.gamma, found.labels, found.head, found.report)
        else:
            run: Map = map if num_threads == 1 else threads.map
            fitted = _LabelFit(kind, train, groups_N, dev, watch, run).run()
    watch.finish()
    return fitted


@dataclass(frozen=True, eq=False)
class _Source:
    """What is fitted on, and what is judged if not rows of the same; moments are of the first."""

    features_NLD: Floats
    dev_NLD: Floats | None
    moments: Moments

    def layer(self, layer: int) -> _Source:
        """One layer alone; nothing is copied."""
        only = slice(layer, layer + 1)
        dev_NLD = None if self.dev_NLD is None else self.dev_NLD[:, only]
        return _Source(self.features_NLD[:, only], dev_NLD, self.moments.layer(layer))

    def equal_mix(self) -> _Source:
        """The mean of the layers as the only layer; copied."""
        dev_NLD = None if self.dev_NLD is None else _equal_mix(self.dev_NLD)
        return _Source(_equal_mix(self.features_NLD), dev_NLD, self.moments.equal_mix())


class _LabelFit:
    """`classify` and `tag`: one head for all examples."""

    def __init__(
        self, kind: Kind, train: Examples, groups_N: Integers, dev: Examples | None, watch: Watch, run: Map
    ) -> None:
        self._kind = kind
        self._run = run
        self._features = train.features_NCD
        self._dev = dev
        self._watch = watch
        self._labels = tuple(sorted(set(train.labels)))
        self._targets_N = indices(train.labels, self._labels)
        self._counts_K = np.bincount(self._targets_N, minlength=len(self._labels))
        num_groups_K = num_groups_of_each(self._targets_N, groups_N)
        _check_labels(self._labels, num_groups_K)
        self._dev_targets_N = None if dev is None else indices(dev.labels, self._labels)
        self._alone = tuple(self._labels[k] for k in np.flatnonzero(num_groups_K == 1)) if dev is None else ()
        self._split = split_examples(self._targets_N, groups_N)

    def run(self) -> Fitted:
        watch, num_layers = self._watch, self._features.shape[1]
        num_paths = 1 if self._dev is not None else len(self._split.held_out)
        watch.stage(0.05, 1)
        moments = measure(self._features, watch.check)
        dev_features = None if self._dev is None else self._dev.features_NCD
        everything = _Source(self._features, dev_features, moments)
        watch.stage(0.4, num_paths * _STEPS_OF_A_PATH)
        loose = loose_leash(num_layers, len(self._targets_N))
        learned = self._choose(everything, loose, FIRST_SPREAD)
        # What suits the learned mix is near what suits its layers.
        spread = learned.spread

        fixed: dict[str, Chosen] = {}
        anchors: dict[str, Doubles] = {}
        for layer in range(num_layers):
            watch.stage(0.4 + 0.25 * (layer + 1) / num_layers, num_paths * _STEPS_OF_A_PATH)
            fixed[layer_name(layer)] = self._choose(everything.layer(layer), loose_leash(1, 1), spread)
            anchors[layer_name(layer)] = nearly_alone(layer, num_layers)
        watch.stage(0.8, num_paths * _STEPS_OF_A_PATH)
        fixed[EQUAL] = self._choose(everything.equal_mix(), loose_leash(1, 1), spread)
        anchors[EQUAL] = np.log(moments.scale_L)

        watch.stage(0.9, num_paths * _STEPS_OF_A_REFIT)
        best = min(fixed, key=lambda name: fixed[name].loss)
        tried = learned.tried
        if fixed[best].loss < learned.loss:
            # What fits the fitted examples best need not be what carries over; start from what did.
            folds, leash = self._folds(everything), firm_leash(anchors[best])
            held = choose_near(self._features, folds, fixed[best], leash, watch)
            tried += held.tried
            learned = held if _clearly_better(held, learned) else learned

        watch.stage(1.0, _STEPS_OF_A_REFIT)
        objective = self._objective(everything, self._targets_N)
        final = refit(objective, learned, watch)
        scalars_L = objective.served_scalars(final)
        weights_L = softmax_weights(scalars_L)
        gamma = unit_gamma(moments.served_variance(weights_L))
        weight_KD, bias_K = objective.linear_head(final, gamma)
        head = LinearHead(
            (weight_KD / learned.temperature).astype(np.float32),
            (bias_K / learned.temperature).astype(np.float32),
        )
        report = self._judge(replace(learned, tried=tried), fixed, weights_L, gamma)
        return Fitted(self._kind, tuple(map(float, scalars_L)), gamma, self._labels, head, report)

    def _choose(self, source: _Source, leash: Leash, first_spread: float) -> Chosen:
        folds = self._folds(source)
        _, num_layers, dim = source.features_NLD.shape
        starts = [first_point(fold.objective, self._counts_K, num_layers, dim) for fold in folds]
        return choose(source.features_NLD, folds, starts, leash, first_spread, self._watch)

    def _objective(self, source: _Source, targets_N: Integers) -> Objective:
        check = self._watch.check
        return Objective(source.features_NLD, targets_N, len(self._labels), source.moments, check, self._run)

    def _folds(self, source: _Source) -> list[Fold]:
        if self._dev_targets_N is not None:
            objective = self._objective(source, self._targets_N)
            rows = np.arange(len(self._dev_targets_N))
            return [Fold(objective, source.dev_NLD, rows, self._dev_targets_N)]
        folds = []
        for fold in self._split.held_out:
            rows = self._split.rows(fold)
            fitted_N = self._targets_N.copy()
            fitted_N[rows] = -1
            folds.append(Fold(self._objective(source, fitted_N), None, rows, self._targets_N[rows]))
        return folds

    def _judge(self, learned: Chosen, fixed: dict[str, Chosen], weights_L: Doubles, gamma: float) -> Report:
        targets_N = learned.scored.targets_N
        counts_NK = np.broadcast_to(self._counts_K.astype(np.float64), (len(targets_N), len(self._counts_K)))
        scored = {
            MAJORITY: Candidates.only(majority_scored(counts_NK, targets_N)),
            **{
                name: Candidates(chosen.scored, chosen.tried)
                for name, chosen in {**fixed, LEARNED: learned}.items()
            },
        }
        setting = Setting(
            num_examples=len(self._targets_N),
            num_unjudged=0,
            held_out=held_out_name(self._dev, len(self._split.held_out)),
            label_counts={label: int(n) for label, n in zip(self._labels, self._counts_K, strict=True)},
            never_held_out=self._alone,
            method="logistic",
            regularisation=learned.spread,
            weights=tuple(map(float, weights_L)),
            gamma=gamma,
            global_context=0.0,
        )
        majority_right_N = targets_N == self._counts_K.argmax()
        return judge(
            setting, scored.items(), majority_right_N, targets_N, np.zeros(len(targets_N), dtype=np.int64)
        )


def _clearly_better(one: Chosen, other: Chosen) -> bool:
    """Whether held-out log losses are lower by more than a standard error."""
    losses, other_losses = (log_losses(cross_fitted([c.scored]), c.scored.targets_N) for c in (one, other))
    return chance_of_lower_loss(losses, other_losses) < _ONE_ERROR


def _equal_mix(features_NLD: Floats) -> Floats:
    """The mean of the layers, as the only layer: a new float32 (N, 1, D)."""
    num_examples, _, dim = features_NLD.shape
    mean_N1D = np.empty((num_examples, 1, dim), dtype=np.float32)
    np.mean(features_NLD, axis=1, keepdims=True, out=mean_N1D)
    return mean_N1D


def _check_labels(labels: Sequence[str], num_groups_K: Integers) -> None:
    num_repeated = int((num_groups_K > 1).sum())
    if len(labels) < 2 or num_repeated < 2:
        raise ValueError(
            "labels: expected at least 2, each of 2 examples or more (of different groups), "
            f"got {len(labels)}, {num_repeated} of them with so many"
        )

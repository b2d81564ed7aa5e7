"""Learn a `sense` task: one mix for all words, and what tells each word's own senses apart in it.

The mix is learned by nearest means (sense_mix.py), once on the examples that are not held out, for the
report, and once on all; held-out examples choose between nearest means and the linear head, and its
shrinkage.

The text's global context, the mean of its token vectors (after Huang et al. 2012, ACL P12-1092), is added to
the mix with a weight of its own. The top layer knows what kind of word stands there and little of what the
text is about; by that alone some senses differ (2026-11-21 in training/LOG.md). Vectors that are served know
nothing of it: a task's mix is of layers, and the report has a row for it without the text.

Shape letters: N examples, L layers, C = L + 1 with the global context, D vector dim, R senses of all words,
word by word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from model.scalar_mix import softmax_weights
from model.tasks.calibration import Candidates, Scored, cross_fitted, fit_temperature, log_losses, pooled
from model.tasks.examples import Examples, Floats, Integers, held_out_name, num_groups_of_each
from model.tasks.head import SenseHead, SenseMethod
from model.tasks.judge import judge, majority_scored
from model.tasks.moments import Doubles, chunks, measure, unit_gamma
from model.tasks.report import EQUAL, LEARNED, LEARNED_WITH_TEXT, MAJORITY, Report, Setting, layer_name
from model.tasks.sense_heads import SHRINKAGES, SenseScorer, SenseStatistics
from model.tasks.sense_mix import Products, learn_mix_and_context
from model.tasks.sense_words import Inventory
from model.tasks.split import split_examples
from model.tasks.watch import Watch

_Option = tuple[SenseMethod, float]
_OPTIONS: tuple[_Option, ...] = (("centroid", 0.0), *(("linear", shrinkage) for shrinkage in SHRINKAGES))
# Evaluations of the mix's objective from all starts, about; progress is reckoned with it.
_STEPS_OF_A_MIX = 130


@dataclass(frozen=True, eq=False)
class FittedSenses:
    scalars: tuple[float, ...]
    gamma: float
    labels: tuple[str, ...]
    head: SenseHead
    report: Report


@dataclass(frozen=True, slots=True)
class _Fold:
    """Fit on `fitted` of the examples; judge `rows` of them, or of dev_NCD.

    words_N and entries_N: of the rows to judge, the word, and which of R they are (-1: a sense it never had).
    """

    fitted: Integers
    dev_NCD: Floats | None
    rows: Integers
    words_N: Integers
    entries_N: Integers


@dataclass(frozen=True, eq=False)
class _LearnedMix:
    """softmax(scalars_L) are the layers' weights; global_context is the text's, beside them."""

    scalars_L: Doubles
    global_context: float

    @property
    def alone(self) -> Doubles:
        """Weights (C), the text's 0."""
        return np.append(softmax_weights(self.scalars_L), 0.0)

    @property
    def with_text(self) -> Doubles:
        """Weights (C)."""
        return np.append(softmax_weights(self.scalars_L), self.global_context)


def fit_senses(train: Examples, groups_N: Integers, dev: Examples | None, watch: Watch) -> FittedSenses:
    """train and dev are checked. Raises ValueError when no word has two senses to tell apart, Cancelled."""
    return _SenseFit(train, groups_N, dev, watch).run()


class _SenseFit:
    def __init__(self, train: Examples, groups_N: Integers, dev: Examples | None, watch: Watch) -> None:
        assert train.words is not None
        self._watch = watch
        self._features = train.features_NCD
        self._dev = dev
        self._inventory = Inventory.of(train.words, train.labels)
        num_groups_R = num_groups_of_each(self._inventory.row_N, groups_N)
        _check_senses(self._inventory, num_groups_R)
        label_R = self._inventory.label_R
        alone = label_R[num_groups_R == 1] if dev is None else []
        self._alone = tuple(self._inventory.labels[k] for k in np.unique(alone).astype(np.int64))
        self._num_unjudged = 0
        self._folds = self._split_folds(groups_N) if dev is None else [self._dev_fold(dev)]

    def run(self) -> FittedSenses:
        watch, num_layers = self._watch, self._features.shape[1] - 1
        watch.stage(0.1, 1)
        moments = measure(self._features, watch.check)
        # Cosines are of vectors as they are, mean included, so their size is what layers are divided by.
        scale_C = moments.size()
        watch.stage(0.5, len(self._folds) * _STEPS_OF_A_MIX)
        mixes = [self._learn(fold.fitted, scale_C) for fold in self._folds]
        predicting, option = self._tried([mix.with_text for mix in mixes])

        watch.stage(0.7, _STEPS_OF_A_MIX)
        everything = np.arange(len(self._features))
        learned = self._learn(everything, scale_C)
        gamma = unit_gamma(moments.served_variance(learned.alone))
        mixed_ND = _mix(self._features, gamma * learned.with_text)
        scorer = SenseStatistics(mixed_ND, everything, self._inventory, watch).scorer(*option)
        head = scorer.head(self._inventory, fit_temperature(predicting.chosen), learned.global_context)

        fixed = {layer_name(layer): np.eye(num_layers)[layer] for layer in range(num_layers)}
        fixed[EQUAL] = np.full(num_layers, 1 / num_layers)
        watch.stage(1.0, (len(fixed) + 1) * len(self._folds))

        def rows() -> Iterator[tuple[str, Candidates]]:
            """One at a time: all their scores together would be many times what the examples take."""
            for name, weights_L in fixed.items():
                yield name, self._tried([np.append(weights_L, 0.0)] * len(self._folds))[0]
            yield LEARNED, self._tried([mix.alone for mix in mixes])[0]
            yield LEARNED_WITH_TEXT, predicting

        report = self._report(rows(), predicting, scorer, learned, gamma)
        return FittedSenses(tuple(map(float, learned.scalars_L)), gamma, self._inventory.labels, head, report)

    def _tried(self, weights: Sequence[Doubles]) -> tuple[Candidates, _Option]:
        """Try all options in each fold's own mix (C); return all scores and the best option."""
        by_fold = [self._score(fold, weights_C) for fold, weights_C in zip(self._folds, weights, strict=True)]
        by_option = tuple(pooled([scores[i] for scores in by_fold]) for i in range(len(_OPTIONS)))
        losses = [float(log_losses(cross_fitted([each]), each.targets_N).mean()) for each in by_option]
        best = int(np.argmin(losses))
        return Candidates(by_option[best], by_option), _OPTIONS[best]

    def _learn(self, examples: Integers, scale_C: Doubles) -> _LearnedMix:
        products = Products.take(self._features, examples, self._inventory, scale_C)
        return _LearnedMix(*learn_mix_and_context(products, scale_C, self._watch))

    def _score(self, fold: _Fold, weights_C: Doubles) -> list[Scored]:
        """One for each option."""
        self._watch.step()
        mixed_ND = _mix(self._features, weights_C)
        judged_ND = mixed_ND if fold.dev_NCD is None else _mix(fold.dev_NCD, weights_C)
        statistics = SenseStatistics(mixed_ND, fold.fitted, self._inventory, self._watch)
        targets_N = np.where(fold.entries_N >= 0, fold.entries_N - self._inventory.starts_W[fold.words_N], -1)
        return [
            statistics.scorer(*option).score(judged_ND[fold.rows], fold.words_N, self._inventory, targets_N)
            for option in _OPTIONS
        ]

    def _split_folds(self, groups_N: Integers) -> list[_Fold]:
        inventory = self._inventory
        split = split_examples(inventory.row_N, groups_N)
        folds = []
        for number in split.held_out:
            rows = split.rows(number)
            fitted = np.flatnonzero(split.folds_N != number)
            folds.append(_Fold(fitted, None, rows, inventory.word_N[rows], inventory.row_N[rows]))
        return folds

    def _dev_fold(self, dev: Examples) -> _Fold:
        """Raise ValueError when no word of dev is known."""
        assert dev.words is not None
        words_N, entries_N = self._inventory.find(dev.words, dev.labels)
        rows = np.flatnonzero(words_N >= 0)
        if not len(rows):
            raise ValueError(
                f"dev words: expected some of the {len(self._inventory.words)} to learn, got none"
            )
        self._num_unjudged = len(words_N) - len(rows)
        everything = np.arange(len(self._features))
        return _Fold(everything, dev.features_NCD, rows, words_N[rows], entries_N[rows])

    def _report(
        self,
        rows: Iterable[tuple[str, Candidates]],
        predicting: Candidates,
        scorer: SenseScorer,
        learned: _LearnedMix,
        gamma: float,
    ) -> Report:
        inventory = self._inventory
        words_N = np.concatenate([fold.words_N for fold in self._folds])
        entries_N = np.concatenate([fold.entries_N for fold in self._folds])
        # Probabilities from what was fitted alone. The answer from all examples, the judged ones too: where a
        # word has three examples, taking one of them away makes another sense the most frequent.
        fitted_counts = [inventory.counts(fold.fitted) for fold in self._folds]
        known_NK = np.concatenate(
            [
                inventory.by_word(counts_R, fold.words_N)
                for counts_R, fold in zip(fitted_counts, self._folds, strict=True)
            ]
        )
        targets_N = predicting.chosen.targets_N
        majority_right_N = inventory.by_word(scorer.counts_R, words_N).argmax(axis=1) == targets_N
        label_counts = np.bincount(inventory.label_R, weights=scorer.counts_R).astype(np.int64)
        setting = Setting(
            num_examples=len(self._features),
            num_unjudged=self._num_unjudged,
            held_out=held_out_name(self._dev, len(self._folds)),
            label_counts=dict(zip(inventory.labels, label_counts.tolist(), strict=True)),
            never_held_out=self._alone,
            method=scorer.method,
            regularisation=scorer.shrinkage,
            weights=tuple(map(float, learned.alone[:-1])),
            gamma=gamma,
            global_context=learned.global_context,
        )
        # A sense that a word never had is a class of the word's own.
        classes_N = np.where(entries_N >= 0, entries_N, -1 - words_N)
        majority = Candidates.only(majority_scored(known_NK, targets_N))
        return judge(setting, chain([(MAJORITY, majority)], rows), majority_right_N, classes_N, words_N)


def _mix(features_NCD: Floats, weights_C: Doubles) -> Floats:
    """Return sum over c of weights[c] * features[c], a new float32 (N, D)."""
    mixed_ND = np.empty((len(features_NCD), features_NCD.shape[2]), dtype=np.float32)
    for part in chunks(len(features_NCD)):
        mixed_ND[part] = np.einsum("ncd,c->nd", features_NCD[part], weights_C.astype(np.float32))
    return mixed_ND


def _check_senses(inventory: Inventory, num_groups_R: Integers) -> None:
    num_senses_W = np.diff(inventory.starts_W)
    word_R = np.repeat(np.arange(len(num_senses_W)), num_senses_W)
    repeated_W = np.bincount(word_R, weights=num_groups_R > 1)
    if not ((num_senses_W > 1) & (repeated_W > 0)).any():
        raise ValueError(
            "senses: expected a word with at least 2, one of them of 2 examples or more (of different "
            f"groups), got none among {len(num_senses_W)} words"
        )

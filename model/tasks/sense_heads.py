"""Two ways to tell a word's senses apart in the mixed space, both closed-form.

Centroid: the cosine with the mean of each sense's examples. Linear: Fisher's discriminant, with one
covariance for all words, of examples about their own sense's mean. A word of a dozen examples could never say
which directions are noise; all words together can. Each word's scores are divided by how far its means lie
apart: otherwise a word of few examples, whose means lie apart by accident, would be surest of itself.

A word's senses start equal: how often each occurs among a few examples says little of the texts to come. On
parts of four training sets that were held out, priors in proportion cost 2 to 11 points of macro recall and
gained accuracy on one of them, a point (2026-11-21 in training/LOG.md). A logistic regression for each word,
tried on two of them, was right no more often (macro recall 1 and 5 points lower) and took ten times as long.

Shape letters: N examples, D vector dim, R senses of all words, word by word, S senses of a word, K the
largest number of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.tasks.calibration import Scored
from model.tasks.head import SenseHead, SenseMethod, SenseWord, one_sense_probability, unit_rows
from model.tasks.moments import Doubles, Floats, chunks
from model.tasks.sense_words import Integers, Inventory
from model.tasks.watch import Watch

# How much of the covariance is replaced by an equal variance of all directions.
SHRINKAGES = (0.05, 0.2, 0.5, 0.9)
# Below this, beside the size of the vectors themselves, their variance is rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class SenseScorer:
    """Scores before a temperature: weight x + bias, x of length 1 for "centroid"."""

    method: SenseMethod
    shrinkage: float  # 0 for "centroid"
    weight_RD: Doubles
    bias_R: Doubles
    counts_R: Integers

    def score(
        self, vectors_ND: Floats, words_N: Integers, inventory: Inventory, targets_N: Integers
    ) -> Scored:
        """Score each vector against its own word's senses; columns are these senses in the inventory's order.

        A word with one sense gets a second column, for a sense that no example has.
        """
        widths_W = np.maximum(np.diff(inventory.starts_W), 2)
        shape = (len(words_N), int(widths_W.max()))
        scores_NK, prior_NK = np.full(shape, -np.inf), np.zeros(shape)
        for word in np.unique(words_N):
            own = np.flatnonzero(words_N == word)
            rows = inventory.rows_of(word)
            num_senses = rows.stop - rows.start
            if num_senses == 1:
                probability = one_sense_probability(int(self.counts_R[rows.start]))
                scores_NK[own, :2] = 0.0
                prior_NK[own, :2] = np.log([probability, 1 - probability])
                continue
            x_nD = vectors_ND[own].astype(np.float64)
            if self.method == "centroid":
                x_nD = unit_rows(x_nD)
            scores_NK[own, :num_senses] = x_nD @ self.weight_RD[rows].T + self.bias_R[rows]
        return Scored(scores_NK, prior_NK, targets_N)

    def head(self, inventory: Inventory, temperature: float, global_context: float) -> SenseHead:
        words = []
        for word, name in enumerate(inventory.words):
            rows = inventory.rows_of(word)
            words.append(
                SenseWord(name, tuple(inventory.label_R[rows].tolist()), tuple(self.counts_R[rows].tolist()))
            )
        return SenseHead(
            self.method,
            tuple(words),
            (self.weight_RD / temperature).astype(np.float32),
            (self.bias_R / temperature).astype(np.float32),
            global_context,
        )


class SenseStatistics:
    """Each sense's mean and their common covariance, over some examples; every scorer comes from these."""

    def __init__(self, vectors_ND: Floats, examples: Integers, inventory: Inventory, watch: Watch) -> None:
        """vectors_ND: mixed. Every sense of the inventory has one of the examples."""
        dim = vectors_ND.shape[1]
        self._inventory = inventory
        self.counts_R = inventory.counts(examples)
        sums_RD = np.zeros((len(self.counts_R), dim))
        for word, rows in inventory.rows_by_word(examples):
            is_of_Sn = np.arange(inventory.num_senses(word))[:, None] == inventory.sense_N[rows]
            sums_RD[inventory.rows_of(word)] = is_of_Sn.astype(np.float64) @ vectors_ND[rows]
        self._mean_RD = sums_RD / self.counts_R[:, None]

        self._scatter_DD = np.zeros((dim, dim))
        square = 0.0
        for part in chunks(len(examples)):
            watch.check()
            rows = examples[part]
            about_nD = (vectors_ND[rows] - self._mean_RD[inventory.row_N[rows]]).astype(np.float32)
            self._scatter_DD += about_nD.T @ about_nD
            square += float(np.einsum("nd,nd->", vectors_ND[rows], vectors_ND[rows], dtype=np.float64))
        self._scatter_DD /= max(len(examples) - len(self.counts_R), 1)
        self._mean_square = square / (len(examples) * dim)

    def centroid(self) -> SenseScorer:
        return SenseScorer(
            "centroid", 0.0, unit_rows(self._mean_RD), np.zeros(len(self.counts_R)), self.counts_R
        )

    def linear(self, shrinkage: float) -> SenseScorer:
        # Not at import: a server that fits nothing does without.
        from scipy.linalg import cho_factor, cho_solve

        variance = float(np.trace(self._scatter_DD)) / len(self._scatter_DD)
        # Without context a sense's examples are all one vector.
        variance = max(variance, _ROUNDING * self._mean_square, float(np.finfo(np.float32).tiny))
        covariance_DD = (1 - shrinkage) * self._scatter_DD
        covariance_DD[np.diag_indices_from(covariance_DD)] += shrinkage * variance
        factor = cho_factor(covariance_DD, overwrite_a=True, check_finite=False)
        weight_RD = cho_solve(factor, self._mean_RD.T, check_finite=False).T
        bias_R = -0.5 * np.einsum("rd,rd->r", weight_RD, self._mean_RD)
        # What a word's senses have in common takes no part in telling them apart; without it numbers are
        # small.
        weight_RD -= self._word_means(weight_RD)
        bias_R -= self._word_means(bias_R)
        apart_R = self._word_means(np.einsum("rd,rd->r", weight_RD, self._mean_RD))
        distance_R = np.sqrt(np.maximum(apart_R, 0.0))
        distance_R[distance_R == 0] = 1.0
        return SenseScorer(
            "linear", shrinkage, weight_RD / distance_R[:, None], bias_R / distance_R, self.counts_R
        )

    def scorer(self, method: SenseMethod, shrinkage: float) -> SenseScorer:
        return self.centroid() if method == "centroid" else self.linear(shrinkage)

    def _word_means(self, values: Doubles) -> Doubles:
        """Return, for each row, the mean over the rows of its word."""
        sizes_W = np.diff(self._inventory.starts_W)
        sums = np.add.reduceat(values, self._inventory.starts_W[:-1], axis=0)
        result: Doubles = np.repeat((sums.T / sizes_W).T, sizes_W, axis=0)
        return result

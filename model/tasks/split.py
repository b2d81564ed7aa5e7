"""Which examples are held out: five folds, stratified by label, with a group's examples always together.

Shape letters: N examples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

NUM_FOLDS = 5
# Up to so many examples each fold is held out once, so that every example is judged; beyond, one fold of 200
# and more says as much as a report needs (an accuracy to within 7 points) in a fifth of the time.
CROSS_FIT_UP_TO = 1000

# The fold of an example that is never held out.
NEVER = -1


@dataclass(frozen=True, slots=True)
class Split:
    """folds_N: the fold of each example, 0 to 4 or NEVER; held_out: the folds that are held out in turn."""

    folds_N: Integers
    held_out: tuple[int, ...]

    def rows(self, fold: int) -> Integers:
        """Return the examples that are held out with this fold, ascending."""
        rows: Integers = np.flatnonzero(self.folds_N == fold)
        return rows

    @property
    def judged(self) -> Integers:
        """All examples that are held out once, in the order in which the folds give them."""
        return np.concatenate([self.rows(fold) for fold in self.held_out])


def split_examples(targets_N: Integers, groups_N: Integers) -> Split:
    """Deal groups out to five folds so that each label is spread evenly over them.

    targets_N: label indices from 0; groups_N: any numbers, equal for examples that must stay together. What
    is left without a fold always has every label: a group with a label that no other group has is never held
    out. The same input gives the same split. Raises ValueError when nothing can be held out.
    """
    groups, group_N = np.unique(groups_N, return_inverse=True)
    num_labels = int(targets_N.max()) + 1
    # Each (group, label) once.
    pairs = np.unique(group_N * num_labels + targets_N)
    pair_group, pair_label = pairs // num_labels, pairs % num_labels
    groups_of_label = np.bincount(pair_label, minlength=num_labels)

    folds = np.zeros(len(groups), dtype=np.int64)
    alone = np.unique(pair_group[groups_of_label[pair_label] == 1])
    # Dealt out like cards, label by label, each group under its rarest label.
    rarest = np.full(len(groups), num_labels, dtype=np.int64)
    order_of_label = np.argsort(np.argsort(groups_of_label, kind="stable"), kind="stable")
    np.minimum.at(rarest, pair_group, order_of_label[pair_label])
    shuffled = np.random.default_rng(0).permutation(len(groups))
    dealt = shuffled[np.argsort(rarest[shuffled], kind="stable")]
    dealt = dealt[~np.isin(dealt, alone)]
    folds[dealt] = np.arange(len(dealt)) % NUM_FOLDS
    folds[alone] = NEVER
    _keep_each_label(folds, pair_group, pair_label)

    folds_N = folds[group_N]
    used = tuple(int(fold) for fold in np.unique(folds_N) if fold != NEVER)
    if not used:
        raise ValueError(
            f"groups: expected some without a label that no other group has, got {len(groups)} with one each"
        )
    return Split(folds_N, used if len(targets_N) <= CROSS_FIT_UP_TO else used[:1])


def _keep_each_label(folds: Integers, pair_group: Integers, pair_label: Integers) -> None:
    """Where all groups of a label are in one fold, never hold out the first of them.

    With one label a group (a sentence to classify) this does not happen: neighbours go to different folds.
    """
    num_labels = int(pair_label.max()) + 1
    lowest = np.full(num_labels, NUM_FOLDS, dtype=np.int64)
    highest = np.full(num_labels, NEVER, dtype=np.int64)
    np.minimum.at(lowest, pair_label, folds[pair_group])
    np.maximum.at(highest, pair_label, folds[pair_group])
    in_one_fold = (lowest == highest) & (lowest != NEVER)
    labels, first = np.unique(pair_label, return_index=True)
    folds[pair_group[first[in_one_fold[labels]]]] = NEVER

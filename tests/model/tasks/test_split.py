from __future__ import annotations

import numpy as np
import pytest

from model.tasks.split import CROSS_FIT_UP_TO, NEVER, NUM_FOLDS, split_examples


def test_every_fold_has_its_share_of_every_label() -> None:
    targets_N = np.repeat([0, 1, 2], [100, 50, 10])
    split = split_examples(targets_N, np.arange(160))
    assert split.held_out == (0, 1, 2, 3, 4)
    for fold in range(NUM_FOLDS):
        np.testing.assert_array_equal(np.bincount(targets_N[split.rows(fold)]), [20, 10, 2])
    np.testing.assert_array_equal(np.sort(split.judged), np.arange(160))


def test_the_same_input_gives_the_same_split() -> None:
    targets_N = np.random.default_rng(0).integers(0, 5, 300)
    groups_N = np.arange(300) // 3
    first, second = (split_examples(targets_N, groups_N) for _ in range(2))
    np.testing.assert_array_equal(first.folds_N, second.folds_N)


def test_many_examples_are_held_out_once_only() -> None:
    targets_N = np.arange(CROSS_FIT_UP_TO + 1) % 2
    split = split_examples(targets_N, np.arange(len(targets_N)))
    assert split.held_out == (0,)
    assert len(split.judged) == 201


def test_groups_stay_together() -> None:
    generator = np.random.default_rng(1)
    groups_N = generator.integers(0, 40, 400)
    split = split_examples(generator.integers(0, 4, 400), groups_N)
    for group in range(40):
        assert len(set(split.folds_N[groups_N == group])) == 1
    assert min(len(split.rows(fold)) for fold in range(NUM_FOLDS)) > 40


def test_a_label_of_one_group_is_never_held_out() -> None:
    targets_N = np.array([0] * 10 + [1] * 10 + [2, 2])
    groups_N = np.array([*range(20), 20, 20])
    split = split_examples(targets_N, groups_N)
    np.testing.assert_array_equal(split.folds_N[20:], NEVER)
    assert (split.folds_N[:20] != NEVER).all()


def test_what_is_fitted_always_has_every_label() -> None:
    generator = np.random.default_rng(2)
    for _ in range(30):
        targets_N = generator.integers(0, 12, 60)
        targets_N = np.unique(targets_N, return_inverse=True)[1]
        groups_N = generator.integers(0, 15, 60)
        split = split_examples(targets_N, groups_N)
        for fold in split.held_out:
            fitted = targets_N[split.folds_N != fold]
            assert set(fitted) == set(targets_N)


def test_nothing_to_hold_out() -> None:
    with pytest.raises(ValueError, match=r"^groups: expected some .*, got 3 with one each$"):
        split_examples(np.array([0, 0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2, 2]))

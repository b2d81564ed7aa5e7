from __future__ import annotations

import numpy as np

from model.tasks.sense_words import Inventory

WORDS = ["배", "눈", "배", "배", "눈"]
LABELS = ["pear", "eye", "boat", "pear", "eye"]


def test_rows_are_senses_word_by_word() -> None:
    inventory = Inventory.of(WORDS, LABELS)
    assert inventory.words == ("눈", "배")
    assert inventory.labels == ("boat", "eye", "pear")
    assert inventory.starts_W.tolist() == [0, 1, 3]
    assert inventory.label_R.tolist() == [1, 0, 2]
    assert inventory.word_N.tolist() == [1, 0, 1, 1, 0]
    assert inventory.row_N.tolist() == [2, 0, 1, 2, 0]
    assert inventory.sense_N.tolist() == [1, 0, 0, 1, 0]
    assert inventory.counts(np.arange(5)).tolist() == [2, 1, 2]
    assert [inventory.num_senses(word) for word in (0, 1)] == [1, 2]
    assert inventory.rows_of(1) == slice(1, 3)


def test_rows_by_word() -> None:
    inventory = Inventory.of(WORDS, LABELS)
    found = [(word, rows.tolist()) for word, rows in inventory.rows_by_word(np.array([0, 1, 3]))]
    assert found == [(0, [1]), (1, [0, 3])]


def test_by_word_is_a_table() -> None:
    inventory = Inventory.of(WORDS, LABELS)
    table = inventory.by_word(inventory.counts(np.arange(5)), np.array([1, 0]))
    assert table.tolist() == [[1, 2], [2, 0]]


def test_find() -> None:
    words_N, rows_N = Inventory.of(WORDS, LABELS).find(
        ["배", "배", "말", "눈"], ["pear", "eye", "horse", "eye"]
    )
    assert words_N.tolist() == [1, 1, -1, 0]
    assert rows_N.tolist() == [2, -1, -1, 0]

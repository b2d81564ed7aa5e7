from __future__ import annotations

from pathlib import Path

import pytest

from training.probes.readers.tagged import TaggedSentence
from training.probes.selection import check_not_empty, in_stable_order, sha256_of_files, up_to_words


def sentence_of(*words: str) -> TaggedSentence:
    return TaggedSentence(" ".join(words), words, ((0, 1),) * len(words), ("X",) * len(words))


def test_the_stable_order_depends_on_the_texts_alone() -> None:
    sentences = [sentence_of(str(number)) for number in range(20)]
    ordered = in_stable_order(sentences, lambda s: s.text)
    assert ordered == in_stable_order(reversed(sentences), lambda s: s.text)
    assert ordered != sentences
    # Fixed: samples drawn by another version must be the same ones.
    assert [sentence.text for sentence in ordered[:5]] == ["9", "8", "13", "17", "10"]


def test_sentences_are_taken_whole_up_to_the_limit() -> None:
    sentences = [sentence_of("a", "b"), sentence_of("c"), sentence_of("d", "e"), sentence_of("f")]
    assert up_to_words(sentences, 4) == sentences[:2]
    assert up_to_words(sentences, 5) == sentences[:3]
    assert up_to_words(sentences, 1) == []


def test_the_hash_covers_names_contents_and_where_one_file_ends(tmp_path: Path) -> None:
    for name, content in [("a", "xy"), ("b", "z"), ("c", "x"), ("d", "yz")]:
        (tmp_path / name).write_text(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert sha256_of_files([a, b]) == sha256_of_files([a, b])
    assert len({sha256_of_files(paths) for paths in ([a, b], [b, a], [c, d], [a])}) == 4


def test_a_split_of_which_nothing_is_left_is_named(tmp_path: Path) -> None:
    check_not_empty(tmp_path, {"train": ["a"]})
    with pytest.raises(ValueError, match="no sentence left in dev"):
        check_not_empty(tmp_path, {"train": ["a"], "dev": []})

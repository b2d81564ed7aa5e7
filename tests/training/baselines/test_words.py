from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.runs import write_documents
from training.baselines.words import Lines, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("강에서 배를 탔다.", ["강에서", "배를", "탔다", "."]),
        ("Don't, re-read (it)!", ["Don", "'", "t", ",", "re", "-", "read", "(", "it", ")", "!"]),
        ("1가구 😀", ["1가구", "😀"]),
        (" \t", []),
    ],
)
def test_words_are_runs_of_letters_and_every_other_mark(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_lines_are_read_again_and_again(tmp_path: Path) -> None:
    first = write_documents(tmp_path / "1.txt", ["a b", "c"], ["d"])
    second = write_documents(tmp_path / "2.txt", ["e."])
    lines = Lines([first, second])
    assert list(lines) == list(lines) == [["a", "b"], ["c"], ["d"], ["e", "."]]


@pytest.mark.parametrize(("max_words", "kept"), [(10, [1, 4, 7, 10, 13]), (15, range(15)), (99, range(15))])
def test_a_cap_takes_documents_from_everywhere(max_words: int, kept: list[int], tmp_path: Path) -> None:
    """Fifteen documents of one word in three files; 10 of them are two in three."""
    files = [write_documents(tmp_path / f"{i}.txt", *([str(5 * i + n)] for n in range(5))) for i in range(3)]
    words = [int(word) for (word,) in Lines(files, max_words)]
    assert set(kept) <= set(words)
    assert len(words) == min(max_words, 15) or len(words) == max_words - 1

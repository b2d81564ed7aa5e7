from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.probes.readers.marked import SenseExample, join_tokens, read_senses, read_token_senses


def test_senses_are_read(tmp_path: Path) -> None:
    row = {"word": "배", "sense": "pear", "sentence": "단 배\u2028다", "start": 2, "end": 3}
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_senses(path) == [SenseExample("배", "pear", "단 배\u2028다", 2, 3)]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '["배"]',
        '{"word": "a", "sense": "b", "sentence": "abc"}',
        '{"word": "a", "sense": "b", "sentence": "abc", "start": 2, "end": 4}',
        '{"word": "a", "sense": "b", "sentence": "abc", "start": 1, "end": 1}',
    ],
)
def test_malformed_senses_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"word": "a", "sense": "b", "sentence": "a", "start": 0, "end": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"train\.jsonl:2: "):
        read_senses(path)


def test_tokens_are_joined_and_one_of_them_is_marked(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"word": "bank", "sense": "river", "tokens": ["the", "banks", "."], "index": 1}\n')
    assert read_token_senses(path) == [SenseExample("bank", "river", "the banks .", 4, 9)]
    assert join_tokens(["the", "banks", "."]) == ("the banks .", [(0, 3), (4, 9), (10, 11)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": 3}, "token 3 is outside the sentence of 3 tokens"),
        ({"tokens": "a"}, "tokens: expected list"),
    ],
)
def test_malformed_tokens_are_refused_with_their_line(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    row = {"word": "bank", "sense": "river", "tokens": ["the", "bank", "."], "index": 1}
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | change) + "\n")
    with pytest.raises(ValueError, match=rf"train\.jsonl:2: {said}"):
        read_token_senses(path)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.probes.readers.marked import Marked
from training.probes.readers.pairs import (
    TextPair,
    WordPair,
    read_rated_contexts,
    read_span_pairs,
    read_text_pairs,
    read_token_pairs,
)

TOKENS = {"tokens1": ["a", "bank"], "index1": 1, "tokens2": ["bank", "it"], "index2": 0, "label": 1}
SPANS = {"s1": "배가", "start1": 0, "end1": 1, "s2": "큰 배", "start2": 2, "end2": 3, "label": 0}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "test.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_pairs_of_marked_tokens_and_of_spans(tmp_path: Path) -> None:
    assert read_token_pairs(written(tmp_path, TOKENS)) == [
        WordPair(Marked("a bank", 2, 6), Marked("bank it", 0, 4), 1.0)
    ]
    assert read_span_pairs(written(tmp_path, SPANS)) == [
        WordPair(Marked("배가", 0, 1), Marked("큰 배", 2, 3), 0.0)
    ]


def test_a_label_is_0_or_1(tmp_path: Path) -> None:
    for read, row in ((read_token_pairs, TOKENS), (read_span_pairs, SPANS)):
        with pytest.raises(ValueError, match=r"test\.jsonl:2: label: expected 0 or 1, got 2"):
            read(written(tmp_path, row, row | {"label": 2}))
        with pytest.raises(ValueError, match=r"test\.jsonl:1: label: expected int, got None"):
            read(written(tmp_path, {key: row[key] for key in row if key != "label"}))


def test_of_a_rated_context_the_sentence_with_the_word_is_kept(tmp_path: Path) -> None:
    row = {
        "context1": "Before . It is <b> Brazil </b> here . After that .",
        "context2": "<b> nut </b> alone",
        "score": "2.5",
    }
    assert read_rated_contexts(written(tmp_path, row)) == [
        WordPair(Marked("It is Brazil here", 6, 12), Marked("nut alone", 0, 3), 2.5)
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"context1": "no word"}, "expected a word between <b> and </b>"),
        ({"context1": "no <b> </b> word"}, "expected a word between <b> and </b>"),
        ({"score": "high"}, "score: expected a number, got 'high'"),
    ],
)
def test_malformed_contexts_are_refused_with_their_line(
    tmp_path: Path, change: dict[str, str], said: str
) -> None:
    row = {"context1": "<b> a </b>", "context2": "<b> a </b>", "score": "1"}
    with pytest.raises(ValueError, match=rf"test\.jsonl:2: {said}"):
        read_rated_contexts(written(tmp_path, row, row | change))


def test_text_pairs(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text("score\ttext1\ttext2\tgenre\n4.5\tone\ttwo\tnews\n", encoding="utf-8")
    assert read_text_pairs(path) == [TextPair("one", "two", 4.5)]
    path.write_text("score\ttext1\ttext2\nmany\tone\ttwo\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"dev\.tsv:2: score: expected a number, got 'many'"):
        read_text_pairs(path)

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.wordnet_files import write_wordnet
from training.probes.readers.all_words import AnnotatedSentence, Instance, read_annotated
from training.probes.readers.wordnet import read_first_senses, wordnet_files


def annotated(folder: Path, *annotations: object) -> Path:
    path = folder / "train.jsonl"
    tokens = ["_", "took_place", "there"]
    rows = [{"tokens": tokens, "ann": [annotation]} for annotation in annotations]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_words_are_named_by_their_key_and_underscores_are_spaces(tmp_path: Path) -> None:
    path = annotated(
        tmp_path,
        [1, "take_place", "VB", ["take_place%2:30:00::"]],
        [2, "other", "ADJ", ["other%5:00:01:x:00", "other%3:00:00::"], "d000.t000"],
    )
    assert read_annotated(path) == [
        AnnotatedSentence(
            "_ took place there", (Instance("take_place%2", (2, 12), ("take_place%2:30:00::",)),)
        ),
        AnnotatedSentence(
            "_ took place there", (Instance("other%3", (13, 18), ("other%5:00:01:x:00", "other%3:00:00::")),)
        ),
    ]


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        ([3, "a", "NN", ["a%1:00:00::"]], "token 3 is outside the 3 tokens"),
        ([0, "a", "NN", []], "expected"),
        ([0, "a", "NN"], "expected"),
        ([0, "a", "NN", ["a%9:00:00::"]], "expected a sense key"),
    ],
)
def test_malformed_annotations_are_refused_with_their_line(
    tmp_path: Path, annotation: object, said: str
) -> None:
    with pytest.raises(ValueError, match=rf"train\.jsonl:2: .*{said}"):
        read_annotated(annotated(tmp_path, [0, "a", "NN", ["a%1:00:00::"]], annotation))


def test_first_senses_are_those_that_wordnet_lists_first(tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path / "wordnet")
    # The number of a word is hexadecimal in data, decimal in a key.
    assert read_first_senses(folder) == {"bank%1": "bank%1:14:11::", "other%3": "other%5:00:01:different:02"}
    assert len(wordnet_files(folder)) == 8


def test_what_is_no_wordnet_is_refused(tmp_path: Path) -> None:
    folder = write_wordnet(tmp_path / "wordnet")
    with (folder / "index.verb").open("a") as file:
        file.write("run v 1 0 1\n")
    with pytest.raises(ValueError, match=r"index\.verb:2: expected a line of WordNet's index"):
        read_first_senses(folder)
    (folder / "index.noun").write_text("bank n 1 0 1 0 00000000\n")
    with pytest.raises(ValueError, match=r"data\.noun: byte 0: expected a synset"):
        read_first_senses(folder)

from __future__ import annotations

from pathlib import Path

import pytest

from training.probes.readers.choices import (
    Alternatives,
    MinimalPair,
    read_alternatives,
    read_minimal_pairs,
)
from training.probes.readers.texts import LabelledText, read_texts


def written(folder: Path, text: str) -> Path:
    path = folder / "some.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_texts_have_the_labels_that_were_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, "id\tfine\tlabel\ttext\n7\tA:b\tA\tWhat \u2028is\n")
    assert read_texts(path, ("label", "fine")) == [LabelledText("What \u2028is", ("A", "A:b"))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label\tsentence\n", r":1: expected columns text, label; missing text"),
        ("label\ttext\n1\tgood\n0\n", r":3: expected 2 tab-separated columns, got 1"),
        ("label\ttext\n\tgood\n", r":2: label: expected a label, got nothing"),
    ],
)
def test_malformed_tables_are_refused_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"some\.tsv" + said):
        read_texts(written(tmp_path, text), ("label",))


def test_minimal_pairs(tmp_path: Path) -> None:
    path = written(tmp_path, "uid\tgood\tbad\nisland\tWho ran?\tRan who?\n")
    assert read_minimal_pairs(path) == [MinimalPair("Who ran?", "Ran who?", "island")]


def test_alternatives(tmp_path: Path) -> None:
    head = "label\tquestion\tpremise\talt0\talt1\n"
    path = written(tmp_path, head + "1\t원인\t비\t해\t구름\n0\t결과\t비\t물\t불\n")
    assert read_alternatives(path) == [
        Alternatives("비", ("해", "구름"), True, 1),
        Alternatives("비", ("물", "불"), False, 0),
    ]
    with pytest.raises(ValueError, match=r"some\.tsv:2: label: expected 0 or 1, got '2'"):
        read_alternatives(written(tmp_path, head + "2\t원인\t비\t해\t구름\n"))
    with pytest.raises(ValueError, match=r"some\.tsv:2: question: expected 결과 or 원인, got 'why'"):
        read_alternatives(written(tmp_path, head + "1\twhy\t비\t해\t구름\n"))

"""Examples in files: what each form gives, and the line that is named when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.tasks.task import Kind
from service.tasks.example_files import FileError, read_examples
from service.tasks.examples import Item

CONLLU = """\
# sent_id = 1
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVBP\t_\t0\troot\t_\t_
2\tn't\tnot\tPART\tRB\t_\t1\tadvmod\t_\t_
2.1\tgo\tgo\tVERB\tVB\t_\t_\t_\t_\t_

1\tStop\tstop\tVERB\tVB\t_\t0\troot\t_\t_
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_sentences(tmp_path: Path) -> None:
    for name, text in (
        ("a.tsv", "배를 탔다\tboat\r\n\na\tb\n"),
        ("a.jsonl", '{"text": "배를 탔다", "label": "boat"}\n\n{"text": "a", "label": "b"}'),
    ):
        path = written(tmp_path, name, text)
        examples = read_examples(path, "classify", "UPOS")
        assert [item.text for item in examples.items] == ["배를 탔다", "a"]
        assert examples.labels == ["boat", "b"]
        assert examples.places == [f"{path}:1", f"{path}:3"]


def test_words(tmp_path: Path) -> None:
    for name, text, column, labels in (
        ("a.tsv", "Do\tAUX\nn't\tPART\n\n\nStop\tVERB", "UPOS", ["AUX", "PART", "VERB"]),
        ("a.conllu", CONLLU, "UPOS", ["AUX", "PART", "VERB"]),
        ("a.conllu", CONLLU, "XPOS", ["VBP", "RB", "VB"]),
    ):
        examples = read_examples(written(tmp_path, name, text), "tag", column)
        assert [item.text for item in examples.items] == [["Do", "n't"], ["Stop"]]
        assert examples.labels == labels
        assert examples.groups.tolist() == [0, 0, 1]


def test_senses(tmp_path: Path) -> None:
    path = written(tmp_path, "a.tsv", "The Bank\t4\t8\triver\n은행\t0\t2\ttree\t은행1\n")
    examples = read_examples(path, "sense", "UPOS")
    assert examples.items == [
        Item("The Bank", span=(4, 8), word="bank"),
        Item("은행", span=(0, 2), word="은행1"),
    ]
    assert examples.words == ["bank", "은행1"]


@pytest.mark.parametrize(
    ("name", "kind", "text", "message"),
    [
        ("a.tsv", "classify", "a\tb\nc\n", "a.tsv:2: expected TEXT and LABEL between tabs, got 1 columns"),
        ("a.tsv", "classify", "a\t\n", "a.tsv:1: label: expected a label of 1 to 256 characters, got 0"),
        ("a.tsv", "classify", " \ta\n", "a.tsv:1: text: expected text, got white space alone"),
        ("a.tsv", "tag", "a\tb\tc\n", "a.tsv:1: expected WORD and LABEL between tabs, got 3 columns"),
        ("a.tsv", "tag", "a\tb\n\tc\n", "a.tsv:1: words[1]: expected a word, got an empty string"),
        ("a.tsv", "sense", "a\tx\t1\tc\n", "a.tsv:1: start: expected a whole number, got 'x'"),
        (
            "a.tsv",
            "sense",
            "a\t0\t2\tc\n",
            "a.tsv:1: start: expected a start before its end, both from 0 to 1, which is the length of the "
            "input, got [0, 2]",
        ),
        ("a.jsonl", "classify", '{"text": "a"}\n', "a.jsonl:1: label: expected this field, got none"),
        (
            "a.jsonl",
            "classify",
            "\n{\n",
            "a.jsonl:2: expected JSON, but: expecting property name enclosed in double quotes at line 1 "
            "column 2",
        ),
        ("a.conllu", "tag", "1\tDo\n", "a.conllu:1: expected 10 columns between tabs, got 2"),
        (
            "a.conllu",
            "sense",
            "",
            "a.conllu: expected .jsonl or .tsv for sense, got CoNLL-U, which is for tag",
        ),
        ("a.csv", "tag", "", "a.csv: expected a name that ends with .jsonl, .tsv or .conllu, got '.csv'"),
        ("a.tsv", "classify", "\udcff\n", "a.tsv: expected UTF-8, got byte 0xff"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, name: str, kind: Kind, text: str, message: str
) -> None:
    with pytest.raises(FileError) as caught:
        read_examples(written(tmp_path, name, text), kind, "UPOS")
    assert str(caught.value) == f"{tmp_path}/{message}"

"""The readers: every line of an input is a row, good or bad, and says where it was."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import lzma
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.options import InputFormat, Options, read_options
from service.bulk.rows import Row, read_rows
from service.bulk.sources import Source
from service.command_line import parser
from service.refusal import Refusal

MAX_CHARACTERS = 60

COMPRESSED = (b"\x1f\x8b", b"\xfd7")
"""How such files begin; no text in UTF-8 does."""

words = st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t"), min_size=1, max_size=5).filter(
    lambda text: not text.isspace() and not text.startswith("\ufeff")
)


def options(*flags: str) -> Options:
    given_: argparse.Namespace = parser().parse_args(["embed", "in", "out", *flags])
    return read_options(given_, MAX_CHARACTERS)


def read(data: bytes, format_: InputFormat, *flags: str) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in"
        path.write_bytes(data)
        return list(read_rows(Source("in", path, format_), options(*flags)))


def told(rows: list[Row]) -> list[tuple[int, Any]]:
    return [(row.line, row.error or row.text) for row in rows]


@given(st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line and line[:2] not in COMPRESSED)))
def test_every_line_of_a_text_is_a_row(lines: list[bytes]) -> None:
    rows = read(b"".join(line + b"\n" for line in lines), "text")
    assert [row.line for row in rows] == list(range(1, len(lines) + 1))
    for line, row in zip(lines, rows, strict=True):
        try:
            text = line.rstrip(b"\r").decode("utf-8").removeprefix("\ufeff" if row.line == 1 else "")
        except UnicodeDecodeError:
            assert row.error is not None
            continue
        if text.strip():
            assert (row.text, row.error) == (text, None)
        else:
            assert row.error is not None


@given(st.lists(st.dictionaries(words, words, max_size=3), max_size=5))
def test_json_lines(objects: list[dict[str, str]]) -> None:
    objects = [{"text": "eins", **fields} for fields in objects]
    rows = read("\n\n".join(map(json.dumps, objects)).encode(), "jsonl")
    assert told(rows) == [(1 + 2 * i, fields["text"]) for i, fields in enumerate(objects)]
    assert [row.kept for row in rows] == objects


@given(st.lists(st.lists(words, min_size=3, max_size=3), min_size=1, max_size=5))
def test_columns_between_tabs(cells: list[list[str]]) -> None:
    data = "".join("\t".join(row) + "\n" for row in cells).encode()
    rows = read(data, "tsv", "--column", "2")
    assert told(rows) == [(i, row[1]) for i, row in enumerate(cells, start=1)]
    assert [row.kept for row in rows] == [
        dict(zip(("column_1", "column_2", "column_3"), row, strict=True)) for row in cells
    ]


@given(st.lists(st.lists(words.filter(lambda word: "#" not in word), min_size=1, max_size=4), max_size=4))
def test_conllu(sentences: list[list[str]]) -> None:
    lines: list[str] = []
    for sentence in sentences:
        lines += ["# sent_id = x", "1-2\tof" + "\t_" * 8]
        lines += [f"{i}\t{word}\tl{i}" + "\t_" * 7 for i, word in enumerate(sentence, start=1)] + [""]
    rows = read("\n".join(lines).encode(), "conllu")
    assert [row.text for row in rows] == sentences
    assert all(row.kept["sent_id"] == "x" and row.kept["text"] is None for row in rows)
    assert [row.kept["lemma"] for row in rows] == [[f"l{i}" for i in range(1, len(s) + 1)] for s in sentences]


BAD: list[tuple[InputFormat, bytes, str]] = [
    ("text", b"a\xff", "expected UTF-8, got byte 0xff at byte 2"),
    ("text", b"\xed\xa0\x80", "expected UTF-8, got byte 0xed at byte 1"),  # half a character
    ("text", b"  ", "expected text, got white space alone"),
    ("text", b"a" * 61, "expected at most 60 characters, got 61"),
    ("tsv", b"", "expected at least one word, got an empty string"),
    ("tsv", b"a\tb", "expected 1 columns between tabs, got 2"),
    ("jsonl", b'{"text": "a"', "expected JSON, but: unexpected end of data"),
    ("jsonl", b'{"text": "\\ud800"}', "expected JSON, but: "),
    ("jsonl", b'["a"]', "expected an object, got a list of 1"),
    ("jsonl", b'{"texts": "a"}', 'expected a field the string "text", got none'),
    ("jsonl", b'{"text": 3}', 'in the string "text", got the number 3'),
    ("jsonl", b'{"text": []}', "got a list of 0"),
    ("jsonl", b'{"text": ["a", ""]}', "word 1: expected a word, got an empty string"),
    (
        "jsonl",
        b'{"text": "a", "x": ' + b"[" * 300 + b"]" * 300 + b"}",
        "JSON of at most 254 levels, got more",
    ),
    ("conllu", b"1\ta", "expected 10 columns between tabs, got 2"),
    (
        "conllu",
        b"1a\ta" + b"\t_" * 8,
        'expected the number of a word, a range or an empty node, got the string "1a"',
    ),
    ("conllu", b"1.1\ta" + b"\t_" * 8, "expected at least one word, got an empty list"),
]


@pytest.mark.parametrize(("format_", "line", "message"), BAD)
def test_bad_rows_say_what_was_expected(format_: InputFormat, line: bytes, message: str) -> None:
    before: dict[str, bytes] = {
        "text": b"good",
        "tsv": b"text",
        "jsonl": b'{"text": "good"}',
        "conllu": b"1\tgood" + b"\t_" * 8 + b"\n",
    }
    rows = read(before[format_] + b"\n" + line + b"\n\n", format_)
    row = next(row for row in rows if row.error is not None)
    assert message in (row.error or "")
    assert row.line == (3 if format_ == "conllu" else 2)


def test_a_line_too_long_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.bulk.sources.MAX_LINE_BYTES", 8)
    rows = read(b"short\n" + b"x" * 100 + b"\nafter\nend", "text")
    assert [row.line for row in rows] == [1, 2, 3, 4]
    assert [row.error is None for row in rows] == [True, False, True, True]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_compressed_files_are_seen_by_their_first_bytes(compress: Any) -> None:
    assert told(read(compress("\ufeffeins\r\nzwei".encode()), "text")) == [(1, "eins"), (2, "zwei")]


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress])
def test_a_damaged_compressed_file_is_refused(compress: Any) -> None:
    data = compress(bytes(str(list(range(1000))), "ascii"))
    with pytest.raises(Refusal, match="expected a whole compressed file, got a damaged one"):
        read(data[:-20], "text")


def test_a_damaged_page_of_parquet_is_refused_with_the_files_name() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [f"number {i}" for i in range(1000)]}), file, use_dictionary=False)
    data = bytearray(file.getvalue())
    data[2000:4000] = b"\xff" * 2000
    with pytest.raises(Refusal, match=r"^in: expected Parquet, got what cannot be read: "):
        read(bytes(data), "parquet")


def test_text_in_parquet_that_is_no_utf8(tmp_path: Path) -> None:
    offsets = pa.py_buffer(pa.array([0, 1, 3, 4], pa.int32()).buffers()[1])
    broken = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"a\xff\xfeb"))
    pq.write_table(pa.table({"text": broken}), tmp_path / "in.parquet")
    rows = list(read_rows(Source("in", tmp_path / "in.parquet", "parquet"), options()))
    assert told(rows) == [(1, "a"), (2, "expected text in UTF-8, got another encoding"), (3, "b")]


def test_words_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"words": [["a", "b"], ["a", None], [], None]})
    pq.write_table(table, tmp_path / "in.parquet")
    rows = list(read_rows(Source("in", tmp_path / "in.parquet", "parquet"), options()))
    assert told(rows) == [
        (1, ["a", "b"]),
        (2, "word 1: expected a word, got null"),
        (3, "expected at least one word, got an empty list"),
        (4, "expected text in UTF-8, got null"),
    ]


REFUSED: list[tuple[InputFormat, bytes, str]] = [
    ("tsv", b"a\tb\n", 'in: expected a column the string "text", got the string "a", the string "b"'),
    ("tsv", b"a\ta\n", 'in:1: expected every column\'s name once, got the string "a" twice'),
    ("tsv", b"\xff\n", "in:1: expected UTF-8, got byte 0xff at byte 1"),
    ("parquet", b"PAR1", "in: expected Parquet, got what cannot be read"),
]


@pytest.mark.parametrize(("format_", "data", "message"), REFUSED)
def test_whole_inputs_that_are_refused(format_: InputFormat, data: bytes, message: str) -> None:
    with pytest.raises(Refusal) as refused:
        read(data, format_)
    assert str(refused.value).startswith(message)

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.runs import write_documents
from training.corpus import (
    MAX_DOCUMENT_LINES,
    check_texts,
    has_characters,
    list_text_files,
    read_documents,
)

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".txt": bytes,
    ".txt.gz": gzip.compress,
    ".txt.xz": lzma.compress,
}


def error(paths: list[Path]) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (every test looks at the whole message)
        check_texts(paths)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_stands_for_the_text_files_directly_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "below").mkdir(parents=True)
    for name in ("b.txt", "a.txt.xz", "c.txt.gz", "notes.md", "a.csv", "below/d.txt"):
        (folder / name).write_bytes(b"text")
    single = tmp_path / "single.txt"
    single.write_bytes(b"text")
    assert list_text_files([single, folder]) == [
        single,
        folder / "a.txt.xz",
        folder / "b.txt",
        folder / "c.txt.gz",
    ]


def test_what_cannot_be_listed_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pdf").write_bytes(b"text")
    suffixes = ".txt, .txt.gz, .txt.xz"
    assert error([tmp_path / "none.txt"]) == f"{tmp_path}/none.txt: no such file"
    assert (
        error([tmp_path / "empty"]) == f"{tmp_path}/empty: no text file in this folder (expected {suffixes})"
    )
    assert (
        error([tmp_path / "text.pdf"])
        == f"{tmp_path}/text.pdf: expected a file named *.txt, *.txt.gz, *.txt.xz"
    )


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("one\ntwo\n\nthree\n", [["one", "two"], ["three"]]),
        ("one\ntwo\n\nthree", [["one", "two"], ["three"]]),
        ("\n\n\none\n\n\n \t\n\ntwo\n\n\n", [["one"], ["two"]]),
        ("  one \r\ntwo\t\r\n\r\n 배 \r\n", [["one", "two"], ["배"]]),
        ("\ufeffone\n\ufefftwo\n", [["one", "\ufefftwo"]]),
        ("one\u2028still one\x0bstill\u0085one\n", [["one\u2028still one\x0bstill\u0085one"]]),
    ],
)
def test_documents_are_lines_between_empty_lines(
    suffix: str, text: str, documents: list[list[str]], tmp_path: Path
) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix](text.encode()))
    assert list(read_documents(path)) == documents
    assert check_texts([path]) == [path]


def test_a_document_without_end_is_cut(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(2 * MAX_DOCUMENT_LINES + 1)]
    path = write_documents(tmp_path / "long.txt", lines, lines[:MAX_DOCUMENT_LINES], ["last"])
    documents = list(read_documents(path))
    assert [len(document) for document in documents] == [1000, 1000, 1, 1000, 1]
    assert documents[0] + documents[1] + documents[2] == lines
    assert documents[3:] == [lines[:1000], ["last"]]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_line_that_is_not_utf_8_is_named_wherever_it_is(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix](b"fine\n\n" * 1000 + "caf\u00e9\n".encode("latin-1")))
    assert error([path]) == f"{path}: line 2001 is not UTF-8: invalid continuation byte"


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("text", ["", "\n", " \t\r\n\n   \n", "\ufeff", "\ufeff\n \n"])
def test_a_file_without_text_is_named(suffix: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_bytes(COMPRESS[suffix](text.encode()))
    assert error([write_documents(tmp_path / "good.txt", ["text"]), path]) == f"{path}: no text in this file"


def _truncate(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _damage(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 64]) + data[middle + 64 :]


@pytest.mark.parametrize("suffix", [".txt.gz", ".txt.xz"])
@pytest.mark.parametrize("spoil", [_truncate, _damage, lambda data: b"plain text\n" * 40])
def test_a_file_that_cannot_be_decompressed_is_named(
    suffix: str, spoil: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    text = "\n".join(f"{number * number} words" for number in range(5000))
    path = tmp_path / f"text{suffix}"
    path.write_bytes(spoil(COMPRESS[suffix](text.encode())))
    assert error([path]).startswith(f"{path}: cannot be decompressed: ")


def test_characters_are_counted_with_line_ends(tmp_path: Path) -> None:
    files = [
        write_documents(tmp_path / "a.txt", ["배가"], ["one", "two"]),
        write_documents(tmp_path / "b.txt", ["x"]),
    ]
    total = 3 + 4 + 4 + 2
    assert has_characters(files, total)
    assert not has_characters(files, total + 1)
    assert not has_characters([], 1)

"""A bundle reads text only with files that fit its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.bundle import Bundle, BundleError, write_bundle
from model.characters import Alphabet
from model.elmo_characters import ByteRows, CodePointRows, WordIds
from model.reader import load_rows, load_words, open_reader, save_words
from model.tokenizer import SentencePieceTokenizer
from model.word_tokenizer import WordTokenizer
from tests.model.imports.imported import imported_allennlp, imported_manylangs
from tests.model.imports.random_checkpoints import WORDS
from tests.service.tiny_bundle import write_tiny_bundle

NAMES = ["<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>"]


def with_file(bundle: Bundle, folder: Path, name: str, content: bytes) -> Bundle:
    """Write the bundle again with another file, every hash right."""
    files: dict[str, bytes | Path] = {each: bundle.folder / each for each in bundle.manifest.files}
    return write_bundle(folder, replace(bundle.manifest, files={}), {**files, name: content})


def test_a_bundle_of_our_own(tmp_path: Path) -> None:
    reader = open_reader(write_tiny_bundle(tmp_path / "tiny"))
    assert isinstance(reader.tokenizer, SentencePieceTokenizer)
    assert isinstance(reader.alphabet, Alphabet)
    assert reader.words is None


def test_imported_ones(tmp_path: Path) -> None:
    reader = open_reader(imported_allennlp(tmp_path / "bytes"))
    assert isinstance(reader.tokenizer, WordTokenizer)
    assert isinstance(reader.alphabet, ByteRows)
    assert reader.words is None
    assert reader.tokenizer.tokenize("abcdefgh").surfaces == ["abcdefg"]  # of rows of 9, 2 are marks
    reader = open_reader(imported_manylangs(tmp_path / "words"))
    assert isinstance(reader.alphabet, CodePointRows)
    assert isinstance(reader.words, WordIds)
    assert reader.words.words == WORDS


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            {"kind": "elmo_bytes", "max_characters": 10},
            "max_characters: expected 9, as the network has, found 10$",
        ),
        (
            {"kind": "elmo_code_points", "max_characters": 9, "characters": NAMES},
            "characters: expected 262, as many as the network has, found 7$",
        ),
    ],
)
def test_characters_of_another_network(tmp_path: Path, document: dict[str, Any], message: str) -> None:
    bundle = imported_allennlp(tmp_path / "one")
    other = with_file(bundle, tmp_path / "other", "characters.json", json.dumps(document).encode())
    with pytest.raises(BundleError, match=rf"other/characters\.json: {message}"):
        open_reader(other)


def test_words_of_another_network(tmp_path: Path) -> None:
    bundle = imported_manylangs(tmp_path / "one")
    other = with_file(bundle, tmp_path / "other", "words.txt", save_words(WordIds([*WORDS, "more"])))
    with pytest.raises(
        BundleError, match=r"words\.txt: words: expected 9, as many as the network has, found 10$"
    ):
        open_reader(other)


def test_a_bundle_with_words_needs_its_list(tmp_path: Path) -> None:
    bundle = imported_manylangs(tmp_path / "one")
    (bundle.folder / "words.txt").unlink()
    with pytest.raises(BundleError, match=r"words\.txt: expected a file, found none$"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("rows", [ByteRows(50), CodePointRows(["a", "\u3000", '"', *NAMES], 9)])
def test_rows_are_read_as_they_were_written(tmp_path: Path, rows: ByteRows | CodePointRows) -> None:
    path = tmp_path / "characters.json"
    path.write_text(json.dumps(rows.to_document()), encoding="utf-8")
    assert load_rows(path).to_document() == rows.to_document()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[" * 100_000, "maximum recursion depth"),
        ("[]", r"expected an object, got \[\]$"),
        ('{"kind": "jamo"}', r'"kind": expected "elmo_bytes" or "elmo_code_points", got \'jamo\'$'),
        ('{"kind": ["elmo_bytes"]}', '"kind": expected '),
        ('{"kind": "elmo_bytes"}', r"expected the fields kind, max_characters, got \['kind'\]$"),
        ('{"kind": "elmo_bytes", "max_characters": "9"}', "max_characters: expected an integer, got '9'$"),
        ('{"kind": "elmo_bytes", "max_characters": 2}', "max_characters: expected at least 3, "),
        (
            '{"kind": "elmo_code_points", "max_characters": 9, "characters": [1]}',
            "characters: expected a string, got 1$",
        ),
        (
            '{"kind": "elmo_code_points", "max_characters": 9, "characters": {}}',
            "characters: expected a list",
        ),
        ('{"kind": "elmo_code_points", "max_characters": 9, "characters": []}', "characters: expected <bos>"),
    ],
)
def test_rows_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "characters.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^characters\.json: {message}"):
        load_rows(path)


def test_words_are_read_as_they_were_written(tmp_path: Path) -> None:
    """With what else might end a line in a text."""
    words = [*WORDS, "a b", "\r", "\u2028", "a\x0b", ""]
    path = tmp_path / "words.txt"
    path.write_bytes(save_words(WordIds(words)))
    assert load_words(path).words == words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<oov>\n<bos>\n<eos>\n<pad>", "expected a line end after the last word, found none$"),
        (b"", "words: expected <oov>"),
        (b"\xff\n", "'utf-8' codec"),
    ],
)
def test_words_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^words\.txt: {message}"):
        load_words(path)

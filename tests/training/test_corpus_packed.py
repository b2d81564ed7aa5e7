from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.characters import Alphabet
from model.tokenizer import SentencePieceTokenizer
from tests.training.runs import file_size_limit, write_documents
from training.config import Config
from training.corpus import (
    CharacterTable,
    PackedCorpus,
    list_text_files,
    pack,
    read_documents,
)
from training.workspace import Workspace

LINES = ["The old bank stood by the river.", "배가 고파서 배를 먹었다.", "spring"]
WITH_UNKNOWN = ["물레 𓀀 wheel", "𓀀𓁀 물레 𓀀"]
"""Hieroglyphs, which no text of tiny.toml holds."""


@pytest.fixture(scope="session")
def tokenizer(prepared: Workspace) -> SentencePieceTokenizer:
    return prepared.tokenizer


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three documents in two files, words that the vocabulary knows and some that it does not."""
    return [
        write_documents(tmp_path / "one.txt", LINES[:2], [WITH_UNKNOWN[0], LINES[2]]),
        write_documents(tmp_path / "two.txt", [WITH_UNKNOWN[1]]),
    ]


ORDER = [*LINES[:2], WITH_UNKNOWN[0], LINES[2], WITH_UNKNOWN[1]]


def test_ids_are_the_tokenizers_with_a_boundary_before_every_line(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    corpus = pack(files, tokenizer, tmp_path / "packed")
    tokenized = [tokenizer.tokenize(line) for line in ORDER]
    expected = [token_id for sentence in tokenized for token_id in (1, *sentence.ids)]
    surfaces = [surface for sentence in tokenized for surface in ("<s>", *sentence.surfaces)]

    vocabulary_size = tokenizer.vocabulary_size
    ids = corpus.token_ids.tolist()
    assert [token_id if token_id < vocabulary_size else 0 for token_id in ids] == expected
    assert expected[1 : 1 + len(tokenized[0])] == tokenizer.encode_ids(ORDER[:1])[0]

    # Every unknown surface has one id of its own, and the ids go up from the vocabulary's size.
    unknown = [surface for token_id, surface in zip(expected, surfaces, strict=True) if token_id == 0]
    assert len(unknown) == 3
    assert corpus.unknown_surfaces == list(dict.fromkeys(unknown)) == ["𓀀", "𓀀𓁀"]
    assert [corpus.unknown_surfaces[i - vocabulary_size] for i in ids if i >= vocabulary_size] == unknown

    lengths = [len(sentence) + 1 for sentence in tokenized]
    assert corpus.document_starts.tolist() == [0, sum(lengths[:2]), sum(lengths[:4])]
    assert corpus.document_lengths.tolist() == [sum(lengths[:2]), sum(lengths[2:4]), lengths[4]]
    assert len(corpus) == sum(lengths) == corpus.counts.tokens
    assert corpus.vocabulary_size == vocabulary_size == 1200


def test_words_and_characters_are_counted_with_line_ends(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    counts = pack(files, tokenizer, tmp_path / "packed").counts
    assert counts.words == sum([7, 4, 3, 1, 3]) + 5
    assert counts.characters == sum(map(len, ORDER)) + 5


def test_a_packed_corpus_is_opened_again_as_it_was(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    packed = pack(files, tokenizer, tmp_path / "packed")
    again = PackedCorpus(tmp_path / "packed")
    np.testing.assert_array_equal(again.token_ids, packed.token_ids)
    np.testing.assert_array_equal(again.document_starts, packed.document_starts)
    assert again.token_ids.dtype == np.uint32
    assert isinstance(again.token_ids, np.memmap)
    assert (again.counts, again.unknown_surfaces) == (packed.counts, packed.unknown_surfaces)
    assert {path.name for path in (tmp_path / "packed").iterdir()} == {
        "corpus.json",
        "document_starts.bin",
        "token_ids.bin",
    }


def test_lines_are_whole_and_without_boundaries(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    corpus = pack(files, tokenizer, tmp_path / "packed")
    lines = corpus.lines()
    assert [len(line) for line in lines] == [len(tokenizer.tokenize(line)) for line in ORDER]
    assert np.concatenate([np.append([1], line) for line in lines]).tolist() == corpus.token_ids.tolist()


def test_some_lines_are_those_of_documents_spread_evenly(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    words = ["bank", "river", "spring", "배", "눈", "밤", "말", "차", "다리"]
    path = write_documents(tmp_path / "nine.txt", *([word, "the"] for word in words))
    corpus = pack([path], tokenizer, tmp_path / "packed")
    firsts = tokenizer.encode_ids(words)

    def chosen(max_tokens: int) -> list[int]:
        lines = corpus.lines(max_tokens)
        return [firsts.index(line.tolist()) for line in lines[::2]]

    assert chosen(len(corpus)) == chosen(10 * len(corpus)) == list(range(9))
    assert chosen(len(corpus) // 3) == [0, 4, 8]
    assert chosen(1) == [0]


def test_lines_stop_where_the_tokens_asked_for_are_full(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    """One document, so that it is the lines that are counted; a boundary counts as a token."""
    words = ["bank", "river the", "spring the the", "bank", "the"]
    corpus = pack([write_documents(tmp_path / "text.txt", words)], tokenizer, tmp_path / "packed")
    lengths = [len(ids) + 1 for ids in tokenizer.encode_ids(words)]
    every = [line.tolist() for line in corpus.lines()]
    for num_lines in range(1, len(words) + 1):
        full = sum(lengths[:num_lines])
        for max_tokens in range(full, full + (lengths[num_lines] if num_lines < len(words) else 5)):
            assert [line.tolist() for line in corpus.lines(max_tokens)] == every[:num_lines]
    # A first line that is longer than asked for comes all the same: no evaluation is of nothing.
    assert [line.tolist() for line in corpus.lines(1)] == every[:1]


def test_the_hash_is_of_tokens_documents_and_unknown_surfaces(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    def sha256(name: str, *documents: list[str]) -> str | None:
        path = write_documents(tmp_path / f"{name}.txt", *documents)
        return pack([path], tokenizer, tmp_path / name).sha256

    first = sha256("first", LINES[:2], WITH_UNKNOWN)
    assert sha256("again", LINES[:2], WITH_UNKNOWN) == first == PackedCorpus(tmp_path / "first").sha256
    assert sha256("lines", LINES[1::-1], WITH_UNKNOWN) != first
    assert sha256("documents", [*LINES[:2], *WITH_UNKNOWN]) != first
    other_surfaces = [line.replace("𓁀", "𓁁") for line in WITH_UNKNOWN]
    assert sha256("surfaces", LINES[:2], other_surfaces) != first
    np.testing.assert_array_equal(
        PackedCorpus(tmp_path / "surfaces").token_ids, PackedCorpus(tmp_path / "first").token_ids
    )


@pytest.mark.parametrize("is_repeated", [False, True])
def test_an_interrupted_pack_is_not_taken_for_a_whole_one(
    is_repeated: bool, files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.train_path
    if is_repeated:
        pack(files, tokenizer, folder)
        assert workspace.is_packed(folder)
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"\n\n".join([b"good"] * 100 + [b"\xff"]))
    with pytest.raises(ValueError, match=r"broken\.txt: line 201 is not UTF-8"):
        pack([*files, broken], tokenizer, folder)
    assert (folder / "token_ids.bin").exists()
    assert not workspace.is_packed(folder)

    expected = pack(files, tokenizer, tmp_path / "expected")
    again = pack(files, tokenizer, folder)
    assert workspace.is_packed(folder)
    np.testing.assert_array_equal(again.token_ids, expected.token_ids)


def test_a_full_disk_is_noticed(tokenizer: SentencePieceTokenizer, tmp_path: Path, tiny: Config) -> None:
    files = [Path(path) for paths in tiny.data.train.values() for path in paths]
    with file_size_limit(20_000), pytest.raises(OSError, match="File too large"):
        pack(files, tokenizer, tmp_path)
    assert not Workspace(tmp_path).is_packed(tmp_path)


def test_token_ids_that_are_not_all_there_are_refused(
    files: list[Path], tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    num_tokens = len(pack(files, tokenizer, tmp_path / "packed"))
    path = tmp_path / "packed" / "token_ids.bin"
    path.write_bytes(path.read_bytes()[:-8])
    message = f"packed: expected {num_tokens} tokens, found {num_tokens - 2}; delete this folder"
    with pytest.raises(ValueError, match=message):
        PackedCorpus(tmp_path / "packed")


def test_a_line_of_nothing_that_is_read_is_a_boundary_alone(
    tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    path = write_documents(tmp_path / "text.txt", ["배", "\u200b", "배"])
    corpus = pack([path], tokenizer, tmp_path / "packed")
    (ship,) = tokenizer.encode_ids(["배"])
    assert corpus.token_ids.tolist() == [1, *ship, 1, 1, *ship]
    assert [line.tolist() for line in corpus.lines()] == [ship, [], ship]


# The table of characters


@pytest.mark.parametrize("kind", ["bytes", "jamo"])
def test_the_table_holds_what_the_alphabet_spells(
    kind: str, tokenizer: SentencePieceTokenizer, prepared: Workspace
) -> None:
    alphabet = Alphabet("bytes") if kind == "bytes" else prepared.alphabet
    unknown = ["▁𓀀", "▁𓀀𓁀", "very-long-unknown"]
    table = CharacterTable(alphabet, tokenizer, unknown)
    surfaces = [*tokenizer.pieces(), *unknown]
    assert len(table.lengths) == len(surfaces) == 1203

    every = np.arange(len(surfaces))
    expected_NC = alphabet.encode(surfaces)
    expected_NC[1] = 0
    expected_NC[1, :3] = [1, 3, 2]  # the boundary is no text that could be spelled
    rows_NC = table.rows(every)
    assert rows_NC.dtype == np.int32
    np.testing.assert_array_equal(rows_NC, expected_NC)
    np.testing.assert_array_equal(table.lengths, (expected_NC != 0).sum(axis=1))


def test_rows_are_padded_to_the_longest_asked_for(
    tokenizer: SentencePieceTokenizer, prepared: Workspace
) -> None:
    table = CharacterTable(prepared.alphabet, tokenizer, ["𓀀" * 16])
    assert table.rows(np.array([1])).tolist() == [[1, 3, 2]]
    last = len(table.lengths) - 1
    assert table.rows(np.array([last, 1, 1], dtype=np.uint32)).shape == (3, 2 + 16 * 4)
    assert table.rows(np.array([1, last, 1]))[[0, 2]].tolist() == [[1, 3, 2] + [0] * 63] * 2
    assert table.rows(np.array([], dtype=np.int64)).shape == (0, 0)


def test_a_large_text_is_packed_the_same_in_one_file_or_many(
    tiny: Config, tokenizer: SentencePieceTokenizer, tmp_path: Path
) -> None:
    (path,) = (Path(path) for path in tiny.data.train["ko"])
    folder = tmp_path / "parts"
    folder.mkdir()
    for i, lines in enumerate(read_documents(path)):
        write_documents(folder / f"{i:03}.txt", lines)
    whole = pack([path], tokenizer, tmp_path / "whole")
    parts = pack(list_text_files([folder]), tokenizer, tmp_path / "packed")
    np.testing.assert_array_equal(parts.token_ids, whole.token_ids)
    np.testing.assert_array_equal(parts.document_starts, whole.document_starts)
    assert parts.counts == whole.counts
    assert whole.counts.characters == sum(len(line) + 1 for doc in read_documents(path) for line in doc)

"""Rows of character ids as the published checkpoints were trained on them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.elmo_characters import ByteRows, CodePointRows, WordIds
from tests.golden.parity_fixtures import PARITY, RANDOM, random_fixture

NAMES = ["<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>"]
CHARACTERS = ["b", "é", "한", "\u3000", *NAMES]
BOS, EOS, OOV, PAD, BOW, EOW = range(5, 11)
WORDS = ["<oov>", "<bos>", "<eos>", "<pad>", "bank", "은행", "\u3000"]


@pytest.mark.parametrize("name", RANDOM)
def test_byte_rows_are_those_of_the_original_program(name: str) -> None:
    """Also of tokens that are cut, on and inside a character."""
    fixture = random_fixture(name)
    options = json.loads(fixture.arguments[0].read_text(encoding="utf-8"))
    rows = ByteRows(options["char_cnn"]["max_characters_per_token"])
    with np.load(PARITY / "random" / name / "char_ids.npz") as expected:
        found = rows.encode([word for sentence in fixture.sentences for word in sentence])
        np.testing.assert_array_equal(found, expected["ids"])
    assert found.dtype == np.int32


def test_a_byte_row() -> None:
    assert ByteRows(6).encode(["aé", "é한", ""]).tolist() == [
        [259, 98, 196, 170, 260, 261],
        [259, 196, 170, 238, 150, 260],  # of 한, ED 95 9C, the last byte is cut off
        [259, 260, 261, 261, 261, 261],
    ]


def test_no_word_is_a_byte_boundary() -> None:
    rows = ByteRows(6)
    begin, end = rows.boundary_rows().tolist()
    assert begin == [259, 257, 260, 261, 261, 261]
    assert end == [259, 258, 260, 261, 261, 261]
    assert rows.encode(["<S>"])[0].tolist() == [259, 61, 84, 63, 260, 261]
    spelled = rows.encode([bytes([low]).decode("latin-1") for low in range(256)] + ["</S>"])
    assert not np.isin(spelled, [257, 258]).any()


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        ByteRows(6).encode(["\ud800"])


def test_code_point_rows() -> None:
    rows = CodePointRows(CHARACTERS, 5)
    assert rows.num_characters == 11
    assert rows.encode(["b", "é한b", "bbbb", "x\u3000", ""]).tolist() == [
        [EOW, 1, BOW, PAD, PAD],
        [EOW, 2, 3, 1, BOW],
        [EOW, 1, 1, 1, BOW],
        [EOW, OOV, 4, BOW, PAD],
        [EOW, BOW, PAD, PAD, PAD],
    ]
    assert rows.boundary_rows().tolist() == [[EOW, BOS, BOW, PAD, PAD], [EOW, EOS, BOW, PAD, PAD]]


@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_a_name(name: str) -> None:
    assert CodePointRows(CHARACTERS, 9).encode([name])[0].tolist() == [
        EOW, OOV, *(1 if c == "b" else OOV for c in name[1:]), BOW, *[PAD] * (7 - len(name))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        (["a", *NAMES[:-1]], "expected <bos> <eos> <oov> <pad> <bow> <eow> among them, found no <eow>$"),
        (["a", "ab", *NAMES], "expected single characters, found 'ab'$"),
        (["a", "", *NAMES], "expected single characters, found ''$"),
        (["a", "b", "a", *NAMES], "expected each once, found 'a' again$"),
    ],
)
def test_a_list_that_is_none_is_refused(characters: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^characters: {message}"):
        CodePointRows(characters, 5)


@pytest.mark.parametrize("max_characters", [2, 0, -1])
def test_a_row_has_room_for_a_character(max_characters: int) -> None:
    for build in (ByteRows, lambda size: CodePointRows(CHARACTERS, size)):
        with pytest.raises(
            ValueError, match=f"^max_characters: expected at least 3, .*, got {max_characters}$"
        ):
            build(max_characters)


def test_word_ids() -> None:
    words = WordIds(WORDS)
    assert words.num_words == 7
    assert words.encode(["bank", "Bank", "은행", "\u3000", " "]).tolist() == [4, 0, 5, 6, 0]
    assert words.encode(["<bos>", "<eos>", "<pad>", "<oov>"]).tolist() == [0, 0, 0, 0]
    assert words.boundary_ids().tolist() == [1, 2]
    assert words.encode([]).shape == (0,)
    assert words.encode(["bank"]).dtype == words.boundary_ids().dtype == np.int32


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (WORDS[1:], "expected <oov> <bos> <eos> <pad> among them, found no <oov>$"),
        ([*WORDS, "bank"], "expected each once, found 'bank' again$"),
    ],
)
def test_words_that_are_no_list_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^words: {message}"):
        WordIds(words)

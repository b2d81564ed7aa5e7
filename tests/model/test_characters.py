from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.characters import (
    BEGIN,
    BOUNDARY,
    END,
    FIRST_BYTE,
    FIRST_LISTED,
    JAMO,
    NUM_SYLLABLES,
    PADDING,
    SYLLABLE_BASE,
    WORD_START,
    Alphabet,
    decompose,
)

# By the order in which a jamo alphabet lists them: the word-start mark, 19 leads, 21 vowels, 27 tails.
FIRST_LEAD, FIRST_VOWEL, FIRST_TAIL, FIRST_FREQUENT = 261, 280, 301, 328

TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(min_codepoint=SYLLABLE_BASE, max_codepoint=SYLLABLE_BASE + NUM_SYLLABLES - 1),
        st.sampled_from([WORD_START, *JAMO, *"é월\x00\x03ㄱ"]),
    )
)


def test_every_hangul_syllable_decomposes_as_unicode_says() -> None:
    syllables = [chr(SYLLABLE_BASE + i) for i in range(11172)]
    assert syllables[0] == "가"
    assert syllables[-1] == "힣"
    assert [decompose(s) for s in syllables] == [unicodedata.normalize("NFD", s) for s in syllables]


@pytest.mark.parametrize("character", ["a", "é", "ᄀ", "ㄱ", "\uabff", "\ud7a4", "😀", "\x00"])
def test_what_is_no_hangul_syllable_is_not_decomposed(character: str) -> None:
    assert decompose(character) == character


def test_a_bytes_alphabet_spells_utf8() -> None:
    alphabet = Alphabet("bytes")
    char_ids_NC = alphabet.encode(["▁a", "", "é😀"])
    assert char_ids_NC.dtype == np.int32
    assert char_ids_NC.tolist() == [
        [1, 4 + 0xE2, 4 + 0x96, 4 + 0x81, 4 + 0x61, 2, 0, 0],
        [1, 2, 0, 0, 0, 0, 0, 0],
        [1, 4 + 0xC3, 4 + 0xA9, 4 + 0xF0, 4 + 0x9F, 4 + 0x98, 4 + 0x80, 2],
    ]
    assert alphabet.num_characters == 260


def test_a_jamo_alphabet_spells_syllables_by_their_sounds() -> None:
    alphabet = Alphabet("jamo", ["é", "月"])
    assert alphabet.num_characters == FIRST_FREQUENT + 2
    assert alphabet.encode(["▁각"]).tolist() == [[1, FIRST_LISTED, FIRST_LEAD, FIRST_VOWEL, FIRST_TAIL, 2]]
    assert alphabet.encode(["힣가"]).tolist() == [
        [1, FIRST_LEAD + 18, FIRST_VOWEL + 20, FIRST_TAIL + 26, FIRST_LEAD, FIRST_VOWEL, 2]
    ]
    assert alphabet.encode(["月éx"]).tolist() == [[1, FIRST_FREQUENT + 1, FIRST_FREQUENT, 4 + 0x78, 2]]


def test_a_jamo_alphabet_spells_what_it_does_not_list_by_its_bytes() -> None:
    alphabet = Alphabet("jamo")
    # Compatibility jamo and the jamo of old Korean are no part of a modern syllable.
    for character in ["é", "ㄱ", "\u113c", "\u11a7", "😀"]:
        expected = [BEGIN, *(FIRST_BYTE + byte for byte in character.encode()), END]
        assert alphabet.encode([character]).tolist() == [expected]


def test_a_jamo_alphabet_reads_composed_and_decomposed_hangul_alike() -> None:
    alphabet = Alphabet("jamo")
    text = "배가 고프다"
    composed, decomposed = alphabet.encode([text, unicodedata.normalize("NFD", text)])
    assert composed.tolist() == decomposed.tolist()


def test_each_character_is_listed_once() -> None:
    alphabet = Alphabet("jamo", ["é", WORD_START, "é", "ᄀ", "ß"])
    assert alphabet.num_characters == FIRST_FREQUENT + 2
    assert alphabet.encode(["éß▁ᄀ"]).tolist() == [
        [1, FIRST_FREQUENT, FIRST_FREQUENT + 1, FIRST_LISTED, FIRST_LEAD, 2]
    ]


def test_no_surfaces_give_no_rows() -> None:
    assert Alphabet("jamo").encode([]).shape == (0, 0)


def test_neighbours_change_only_the_padding() -> None:
    alphabet = Alphabet("jamo")
    surfaces = ["▁bank", "", "▁강물", "👩‍👩‍👧"]
    for surface, row in zip(surfaces, alphabet.encode(surfaces), strict=True):
        alone = alphabet.encode([surface])[0]
        assert row[: len(alone)].tolist() == alone.tolist()
        assert not row[len(alone) :].any()


def test_the_boundary_has_a_row_of_its_own() -> None:
    row = Alphabet("bytes").boundary_row()
    assert row.dtype == np.int32
    assert row.tolist() == [BEGIN, BOUNDARY, END] == [1, 3, 2]


def spelled_back(alphabet: Alphabet, row: list[int]) -> str:
    """Return the text that a row of character ids spells, jamo left apart: the inverse of `encode`."""
    always = [WORD_START, *JAMO] if alphabet.kind == "jamo" else []
    listed = always + [c for c in alphabet.listed if c not in always]
    assert row[0] == BEGIN
    assert row[-1] == END
    spelled = b""
    for character_id in row[1:-1]:
        assert character_id >= FIRST_BYTE
        is_byte = character_id < FIRST_LISTED
        spelled += (
            bytes([character_id - FIRST_BYTE]) if is_byte else listed[character_id - FIRST_LISTED].encode()
        )
    return spelled.decode()


@given(text=TEXTS)
def test_no_two_texts_are_spelled_alike(text: str) -> None:
    """What can be spelled back has a spelling of its own; only the two forms of Hangul share one."""
    as_bytes = Alphabet("bytes")
    assert spelled_back(as_bytes, as_bytes.encode([text])[0].tolist()) == text
    as_jamo = Alphabet("jamo", ["é", "월", "ㄱ"])
    assert spelled_back(as_jamo, as_jamo.encode([text])[0].tolist()) == "".join(map(decompose, text))


@pytest.mark.parametrize(
    "alphabet", [Alphabet("bytes"), Alphabet("jamo"), Alphabet("jamo", [*'é"\\\n\u2028月😀', WORD_START])]
)
def test_a_saved_alphabet_is_the_same_when_loaded(alphabet: Alphabet, tmp_path: Path) -> None:
    path = tmp_path / "characters.json"
    alphabet.save(path)
    loaded = Alphabet.load(path)
    surfaces = ["▁bank", "배가", 'é"\\\n\u2028月😀', "ß"]
    assert (loaded.kind, loaded.listed) == (alphabet.kind, alphabet.listed)
    assert loaded.num_characters == alphabet.num_characters
    assert loaded.encode(surfaces).tolist() == alphabet.encode(surfaces).tolist()


def test_a_lone_surrogate_is_refused() -> None:
    for alphabet in [Alphabet("bytes"), Alphabet("jamo")]:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            alphabet.encode(["fine", "not \ud800 fine"])


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r'^alphabet: expected "bytes" or "jamo", got \'words\'$'):
        Alphabet("words")


def test_a_bytes_alphabet_with_characters_is_refused() -> None:
    with pytest.raises(ValueError, match=r'^alphabet "bytes" lists no characters, got 2$'):
        Alphabet("bytes", ["a", "b"])


def test_listed_strings_of_several_characters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^alphabet: expected single characters, got 'ab'$"):
        Alphabet("jamo", ["a", "ab", ""])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "can't decode"),
        (b"[" * 10**6, "maximum recursion depth exceeded"),
        (b"[]", 'expected an object with "kind" and "characters"'),
        (b'{"kind": "bytes"}', 'expected an object with "kind" and "characters"'),
        (
            b'{"kind": "bytes", "characters": [], "more": 1}',
            'expected an object with "kind" and "characters"',
        ),
        (b'{"kind": "bytes", "characters": null}', '"characters": expected a list, got None'),
        (b'{"kind": "jamo", "characters": "ab"}', "\"characters\": expected a list, got 'ab'"),
        (b'{"kind": "jamo", "characters": ["a", 1]}', "alphabet: expected single characters, got 1"),
        (b'{"kind": "words", "characters": []}', 'alphabet: expected "bytes" or "jamo", got \'words\''),
        (b'{"kind": ["jamo"], "characters": []}', 'alphabet: expected "bytes" or "jamo", got [\'jamo\']'),
    ],
)
def test_a_file_that_save_did_not_write_is_refused_by_name(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "characters.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^characters\.json: ") as caught:
        Alphabet.load(path)
    assert message in str(caught.value)


def test_what_is_saved_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "characters.json"
    Alphabet("jamo", ["月", "é"]).save(path)
    assert "月" in path.read_text(encoding="utf-8")
    assert json.loads(path.read_bytes()) == {"kind": "jamo", "characters": ["月", "é"]}


def test_padding_is_never_spelled() -> None:
    row = Alphabet("bytes").encode(["\x00\x01\x02\x03"])[0].tolist()
    assert row == [BEGIN, 4, 5, 6, 7, END]
    assert PADDING not in row

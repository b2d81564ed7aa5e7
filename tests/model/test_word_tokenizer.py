"""The words of a string, by the rule that the module states, and lists of words as they stand."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.word_tokenizer import PLANES, WordTokenizer

TOKENIZER = WordTokenizer(48)
KINDS = {"Mn", "Mc", "Me", "Cf", "Cc"}


def tokens(text: str) -> list[str]:
    """Return the tokens as the reply shows them; what the network reads is the same here."""
    tokenized = TOKENIZER.tokenize(text)
    shown = [text[start:end] for start, end in zip(tokenized.starts, tokenized.ends, strict=True)]
    assert tokenized.surfaces == shown
    assert tokenized.visible == [True] * len(tokenized)
    assert tokenized.words is None
    return shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bank, closed.", ["The", "bank", ",", "closed", "."]),
        ("She's well-known: don’t!", ["She's", "well-known", ":", "don’t", "!"]),
        ("dogs' 'quoted' -5 a- -b", ["dogs", "'", "'", "quoted", "'", "-", "5", "a", "-", "-", "b"]),
        ("the U.S. paid 1,204.50, 3.5%", ["the", "U.S", ".", "paid", "1,204.50", ",", "3.5", "%"]),
        ("a,b 1,b", ["a", ",", "b", "1", ",", "b"]),
        ("wait... -- ?!", ["wait", "...", "--", "?", "!"]),
        ("snake_case http://a.b/c", ["snake_case", "http", ":", "//", "a.b", "/", "c"]),
        ("강에서 배를 탔다.", ["강에서", "배를", "탔다", "."]),
        ("中文。日本語", ["中文", "。", "日本語"]),
        ("कल बाज़ार", ["कल", "बाज़ार"]),
        ("<S> </S> <bos>", ["<", "S", ">", "<", "/", "S", ">", "<", "bos", ">"]),
    ],
)
def test_words_and_symbols(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@pytest.mark.parametrize(
    "token",
    [
        unicodedata.normalize("NFD", "각한"),
        unicodedata.normalize("NFD", "Hán"),
        "Ｈａｎ",
        "co\u00adoperate",  # a soft hyphen
        "می\u200cخواهم",  # a zero-width non-joiner
        "👨\u200d👩\u200d👧\u200d👦",
        "🏳\ufe0f\u200d🌈",
        "👍🏽",
        "❤\ufe0f",
        "🇰🇷",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "1\ufe0f\u20e3",
        "①",
        "😀😀😀",
        "\ue000",  # a private character
        "\U000e1000",  # one that is not assigned
    ],
)
def test_what_stays_together(token: str) -> None:
    assert tokens(f"a {token} b") == ["a", token, "b"]


def test_flags_are_told_apart() -> None:
    assert tokens("🇰🇷🇺🇸") == ["🇰🇷", "🇺🇸"]


@pytest.mark.parametrize(
    "apart", [" ", "\t", "\n", "\u00a0", "\u3000", "\u0085", "\u200b", "\0", "\x1b", "\ufeff ", " \u200e"]
)
def test_what_belongs_to_no_token(apart: str) -> None:
    assert tokens(f"{apart}a{apart}b{apart}") == ["a", "b"]


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ufeff\u00ad", "\0\x1f\u3000"])
def test_a_string_may_have_no_words(text: str) -> None:
    assert len(TOKENIZER.tokenize(text)) == 0


@given(
    st.text(
        st.characters(exclude_categories=["Cs"]) | st.sampled_from("aé가😀\u200d🏽.,'- \u200b"), max_size=60
    )
)
def test_offsets_are_exact_and_what_is_left_out_is_white_or_unseen(text: str) -> None:
    tokenized = TOKENIZER.tokenize(text)
    end_before, left_out = 0, ""
    for surface, start, end in zip(tokenized.surfaces, tokenized.starts, tokenized.ends, strict=True):
        assert end_before <= start < end
        assert text[start:end][:48] == surface
        left_out += text[end_before:start]
        end_before = end
    left_out += text[end_before:]
    assert all(c.isspace() or unicodedata.category(c) in ("Cc", "Cf") for c in left_out)


def test_a_long_word_is_cut_for_the_network_and_whole_in_the_reply() -> None:
    tokenized = WordTokenizer(3).tokenize("abcdef xy")
    assert tokenized.surfaces == ["abc", "xy"]
    assert list(zip(tokenized.starts, tokenized.ends, strict=True)) == [(0, 6), (7, 9)]


def test_a_list_of_words_is_read_as_it_stands() -> None:
    words = [" ", "\u00a0", "\u200b", "\u3000", "a b", "don't,", unicodedata.normalize("NFD", "한"), "<S>"]
    tokenized = TOKENIZER.tokenize_words(words)
    assert tokenized.surfaces == words
    assert tokenized.starts == [0] * len(words)
    assert tokenized.ends == list(map(len, words))
    assert tokenized.words == list(range(len(words)))
    assert tokenized.visible == [True] * len(words)


def test_an_empty_word_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^word 1 is empty$"):
        TOKENIZER.tokenize_words(["a", ""])


def test_there_is_no_vocabulary() -> None:
    assert TOKENIZER.pieces() == []


def test_every_mark_format_and_control_character_is_in_the_planes_that_are_looked_at() -> None:
    """Another version of Unicode, with another Python, may have more of them."""
    found = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in KINDS]
    assert all(any(code in plane for plane in PLANES) for code in found)

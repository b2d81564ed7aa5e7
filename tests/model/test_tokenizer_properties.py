"""What holds for any text: the tokenizer against SentencePiece itself, on text that is meant to break it."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from model.tokenizer import BOUNDARY_ID, MAX_UNKNOWN_CHARACTERS, NOT_READ, UNKNOWN_ID, SentencePieceTokenizer

# What goes wrong in tokenizers: white space of all kinds, control and zero-width characters, marks, what NFKC
# makes several characters of, one of several, or nothing; and long runs of characters that no piece holds.
TRICKY = [
    *"\t\n\r\x00\x01\x0b\x1c\x1f\x7f\x85\xa0\xad\u061c\u1680\u200b\u200c\u200d\u200e\u200f\u2028\u2581\u3000\ufeff\ufffd",
    *"ﬁ㈜½℀㋀ﷺ¨´ﾞｶＡ①…ǆŉΐ각각\u0301\u0323\u0344\ufe0f👩🏳𝐓한月",
    *["the", " bank", "배가", "각", "월" * 17, "月" * 17, "\x1c" * 17],
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs"])), max_size=40
).map("".join)
WORD_LISTS = st.lists(TEXTS.filter(bool), max_size=6)


@pytest.fixture(scope="module")
def processor(tokenizer_path: Path) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece itself, to compare with."""
    return sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_path))


def test_not_read_is_what_the_normalisation_turns_into_a_space_or_drops(
    processor: sentencepiece.SentencePieceProcessor,
) -> None:
    """Every code point between two letters. NUL apart, which ends a string somewhere in SentencePiece."""
    characters = [chr(i) for i in range(1, sys.maxunicode + 1) if not 0xD800 <= i < 0xE000]
    vanished = {*processor.normalize(["ab", "a b"])}
    normalized = processor.normalize([f"a{c}b" for c in characters])
    assert [c for c, n in zip(characters, normalized, strict=True) if n in vanished] == sorted(NOT_READ)


@given(text=TEXTS)
def test_offsets_of_any_text(
    tokenizer: SentencePieceTokenizer, processor: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    tokenized = tokenizer.tokenize(text)
    assert tokenized.starts == sorted(tokenized.starts)
    covered: set[int] = set()
    columns = zip(tokenized.ids, tokenized.starts, tokenized.ends, tokenized.visible, strict=True)
    for token_id, start, end, is_visible in columns:
        if is_visible:
            assert 0 <= start < end <= len(text)
            assert text[start:end] == text[start:end].strip(NOT_READ)
            assert end - start <= MAX_UNKNOWN_CHARACTERS or token_id != UNKNOWN_ID
            covered.update(range(start, end))
    read = [i for i, normal in enumerate(processor.normalize(list(text))) if normal.replace("▁", "")]
    assert covered.issuperset(read)


@given(text=TEXTS)
def test_the_network_reads_the_whole_normalised_text(
    tokenizer: SentencePieceTokenizer, processor: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    tokenized = tokenizer.tokenize(text)
    is_cut = any(b == (UNKNOWN_ID, UNKNOWN_ID) for b in zip(tokenized.ids, tokenized.ids[1:], strict=False))
    assert is_cut or "".join(tokenized.surfaces) == processor.normalize(text)


@given(text=TEXTS)
def test_encode_ids_gives_the_ids_of_tokenize(tokenizer: SentencePieceTokenizer, text: str) -> None:
    """A long unknown piece apart, of which `tokenize` makes several."""
    (ids,) = tokenizer.encode_ids([text])
    assert BOUNDARY_ID not in ids
    assert _runs_joined(tokenizer.tokenize(text).ids) == _runs_joined(ids)


def _runs_joined(ids: list[int]) -> list[int]:
    return [i for i, run in groupby(ids) for i in ([i] if i == UNKNOWN_ID else run)]


@given(words=WORD_LISTS)
def test_every_word_has_a_visible_token_within_it(
    tokenizer: SentencePieceTokenizer, words: list[str]
) -> None:
    tokenized = tokenizer.tokenize_words(words)
    assert tokenized.words is not None
    assert tokenized.words == sorted(tokenized.words)
    seen: set[int] = set()
    columns = zip(tokenized.words, tokenized.starts, tokenized.ends, tokenized.visible, strict=True)
    for word, start, end, is_visible in columns:
        if is_visible:
            assert 0 <= start < end <= len(words[word])
            seen.add(word)
    assert seen == set(range(len(words)))


@given(words=WORD_LISTS)
def test_a_word_is_read_alike_among_any_others(tokenizer: SentencePieceTokenizer, words: list[str]) -> None:
    together = tokenizer.tokenize_words(words)
    alone = [tokenizer.tokenize_words([word]) for word in words]
    assert together.surfaces == [surface for one in alone for surface in one.surfaces]
    assert together.ids == [i for one in alone for i in one.ids]
    assert together.starts == [start for one in alone for start in one.starts]
    assert together.ends == [end for one in alone for end in one.ends]
    assert together.visible == [flag for one in alone for flag in one.visible]
    assert together.words == [index for index, one in enumerate(alone) for _ in one.ids]

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sentencepiece

from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer, Tokenized
from training.config import TokenizerConfig
from training.tokenizer import train_tokenizer


def visible(tokenized: Tokenized, text: str) -> list[tuple[str, str]]:
    """Return each visible token's surface, and what its offsets cut out of the text."""
    columns = zip(tokenized.surfaces, tokenized.starts, tokenized.ends, tokenized.visible, strict=True)
    return [(surface, text[start:end]) for surface, start, end, is_visible in columns if is_visible]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "배를 탔다.",
            [("배", "배"), ("를", "를"), ("탔", "탔"), ("다", "다"), (".", ".")],
            id="Korean",
        ),
        pytest.param(
            unicodedata.normalize("NFD", "배를 탔다."),
            [
                ("배", "\u1107\u1162"),
                ("를", "\u1105\u1173\u11af"),
                ("탔", "\u1110\u1161\u11bb"),
                ("다", "\u1103\u1161"),
                (".", "."),
            ],
            id="decomposed Hangul",
        ),
        pytest.param(
            "👩‍👩‍👧 the bank🏳️‍🌈",
            [("👩‍👩‍👧", "👩‍👩‍👧"), ("▁the", "the"), ("▁bank", "bank"), ("🏳️‍🌈", "🏳️‍🌈")],
            id="emoji joined by ZWJ",
        ),
        pytest.param(
            "Ｔｈｅ　ｂａｎｋ", [("▁The", "Ｔｈｅ"), ("▁bank", "ｂａｎｋ")], id="full-width letters and space"
        ),
        pytest.param("ｶﾞ the", [("ガ", "ｶﾞ"), ("▁the", "the")], id="half-width, two characters read as one"),
        pytest.param(
            "\tthe\t bank  of\n",
            [("▁the", "the"), ("▁bank", "bank"), ("▁of", "of")],
            id="tabs, double spaces",
        ),
        pytest.param(
            "שלום \u200fthe bank\u200e",
            [("שלום", "שלום"), ("▁the", "the"), ("▁bank", "bank")],
            id="right to left, with marks",
        ),
        pytest.param(
            "ﬁne ﬂag",
            [("▁f", "ﬁ"), ("ine", "ﬁne"), ("▁fla", "ﬂa"), ("g", "g")],
            id="ligatures: two tokens share a character",
        ),
        pytest.param(
            "㈜배",
            [("(", "㈜"), ("주", "㈜"), (")", "㈜"), ("배", "배")],
            id="three tokens share a character",
        ),
        pytest.param(
            "the ℀", [("▁the", "the"), ("▁a", "℀"), ("/", "℀"), ("c", "℀")], id="shared, after a space"
        ),
        pytest.param(
            "ﷺ",
            [("صلى", "ﷺ"), ("الله", "ﷺ"), ("عليه", "ﷺ"), ("وسلم", "ﷺ")],
            id="one character becomes four words",
        ),
        pytest.param(
            "the\x07 \x1bbank\x00",
            [("▁the", "the"), ("▁bank", "bank"), ("\0", "\0")],
            id="control characters: all but NUL are dropped",
        ),
        pytest.param("\x85the", [("\x85", "\x85"), ("t", "t"), ("he", "he")], id="U+0085 is a character"),
        pytest.param(
            "\ufeffThe\u200bbank\ufeff", [("▁The", "The"), ("▁bank", "bank")], id="zero-width spaces, BOM"
        ),
        pytest.param("cafe\u0301", [("▁ca", "ca"), ("f", "f"), ("é", "e\u0301")], id="combining mark"),
        pytest.param(
            "배\u0323 the", [("배", "배"), ("\u0323", "\u0323"), ("▁the", "the")], id="mark that stays apart"
        ),
        pytest.param("𝐓𝐡𝐞 bank", [("▁The", "𝐓𝐡𝐞"), ("▁bank", "bank")], id="beyond the basic plane"),
        pytest.param(
            "<s> <unk>",
            [*[(c, c) for c in "<s>"], *[(c, c) for c in "<unk>"]],
            id="names of control symbols are text",
        ),
        pytest.param(
            "漢" * 40,
            [("漢" * 16, "漢" * 16), ("漢" * 16, "漢" * 16), ("漢" * 8, "漢" * 8)],
            id="long unknown",
        ),
        pytest.param(
            "漢" * 16 + "\x1c" * 20 + "字",
            [("漢" * 16, "漢" * 16), ("字", "字")],
            id="long unknown with a gap",
        ),
        pytest.param(
            "㋀" + "月" * 20 + " bank",
            [("1", "㋀"), ("㋀" + "月" * 15, "㋀" + "月" * 15), ("月" * 5, "月" * 5), ("▁bank", "bank")],
            id="long unknown that begins in the middle of a character",
        ),
    ],
)
def test_offsets_cut_out_what_the_user_wrote(
    tokenizer: SentencePieceTokenizer, text: str, expected: list[tuple[str, str]]
) -> None:
    assert visible(tokenizer.tokenize(text), text) == expected


def test_all_columns_of_one_sentence(tokenizer: SentencePieceTokenizer) -> None:
    pieces = tokenizer.pieces()
    tokenized = tokenizer.tokenize("배를  the 漢")
    assert tokenized.surfaces == ["▁", "배", "를", "▁the", "▁", "漢"]
    known = [pieces.index(surface) for surface in ["▁", "배", "를", "▁the", "▁"]]
    assert tokenized.ids == [*known, UNKNOWN_ID]
    assert tokenized.starts == [0, 0, 1, 4, 8, 8]
    assert tokenized.ends == [0, 1, 2, 7, 8, 9]
    assert tokenized.words is None
    assert tokenized.visible == [False, True, True, True, False, True]
    assert len(tokenized) == 6


@pytest.mark.parametrize("text", ["", " ", "\t\n\u3000", "\u200b", "\x01", "▁", "\ufeff\u200e"])
def test_text_that_is_not_read_has_no_tokens(tokenizer: SentencePieceTokenizer, text: str) -> None:
    assert tokenizer.tokenize(text) == Tokenized([], [], [], [], None, [])


def test_encode_ids_takes_many_texts(tokenizer: SentencePieceTokenizer) -> None:
    texts = ["the bank", "", "배를 탔다", "漢"]
    assert tokenizer.encode_ids(texts) == [tokenizer.tokenize(text).ids for text in texts]
    assert tokenizer.encode_ids([]) == []


def test_words_are_read_as_after_a_space(tokenizer: SentencePieceTokenizer) -> None:
    words = ["the", "bank", "배를", "탔다."]
    as_words, as_text = tokenizer.tokenize_words(words), tokenizer.tokenize(" ".join(words))
    assert as_words.surfaces == as_text.surfaces
    assert as_words.ids == as_text.ids
    assert as_words.visible == as_text.visible
    assert as_words.words == [0, 1, 2, 2, 2, 3, 3, 3, 3]
    assert as_words.starts == [0, 0, 0, 0, 1, 0, 0, 1, 2]
    assert as_words.ends == [3, 4, 0, 1, 2, 0, 1, 2, 3]


def test_a_word_with_a_space_in_it_is_one_word(tokenizer: SentencePieceTokenizer) -> None:
    tokenized = tokenizer.tokenize_words(["the bank", "of"])
    assert tokenized.surfaces == ["▁the", "▁bank", "▁of"]
    assert tokenized.words == [0, 0, 1]
    assert (tokenized.starts, tokenized.ends) == ([0, 4, 0], [3, 8, 2])


@pytest.mark.parametrize("word", [" ", "\t", "\u3000", "\u200b", "▁", "\x01", "\ufeff ", "\x7f" * 16])
def test_a_word_that_normalises_to_nothing_is_read_as_it_is(
    tokenizer: SentencePieceTokenizer, word: str
) -> None:
    tokenized = tokenizer.tokenize_words(["the", word, "bank"])
    assert tokenized.surfaces == ["▁the", "▁" + word, "▁bank"]
    assert tokenized.ids[1] == UNKNOWN_ID
    assert tokenized.words == [0, 1, 2]
    assert (tokenized.starts, tokenized.ends) == ([0, 0, 0], [3, len(word), 4])
    assert tokenized.visible == [True, True, True]


def test_a_long_word_that_normalises_to_nothing_is_cut(tokenizer: SentencePieceTokenizer) -> None:
    tokenized = tokenizer.tokenize_words([" " * 40])
    assert tokenized.surfaces == ["▁" + " " * 16, " " * 16, " " * 8]
    assert tokenized.words == [0, 0, 0]
    assert (tokenized.starts, tokenized.ends) == ([0, 16, 32], [16, 32, 40])


def test_no_words_give_no_tokens(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.tokenize_words([]) == Tokenized([], [], [], [], [], [])


def test_an_empty_word_is_refused(tokenizer: SentencePieceTokenizer) -> None:
    with pytest.raises(ValueError, match=r"^word 2 is empty$"):
        tokenizer.tokenize_words(["the", " ", "", "bank"])


def test_a_lone_surrogate_is_refused(tokenizer: SentencePieceTokenizer) -> None:
    for text in ["the \ud800 bank", "\udfff"]:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            tokenizer.tokenize(text)
        with pytest.raises(ValueError, match="surrogates not allowed"):
            tokenizer.tokenize_words(["the", text])


def test_the_vocabulary(tokenizer: SentencePieceTokenizer) -> None:
    pieces = tokenizer.pieces()
    assert len(pieces) == len(set(pieces)) == tokenizer.vocabulary_size == 1500
    assert pieces[UNKNOWN_ID] == "<unk>"
    assert pieces[BOUNDARY_ID] == "<s>"
    assert "▁bank" in pieces


def test_threads_do_not_disturb_each_other(tokenizer: SentencePieceTokenizer) -> None:
    texts = [f"the bank {i} 배를 탔다 漢" for i in range(200)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(tokenizer.tokenize, texts)) == [tokenizer.tokenize(text) for text in texts]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00" * 1000, b'{"kind": "bytes"}'])
def test_a_file_that_is_no_model_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^tokenizer\.model: not a SentencePiece model$"):
        SentencePieceTokenizer(path)


def test_a_model_with_other_ids_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.model"
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the bank of the river"] * 8),
            model_writer=file,
            vocab_size=20,
            hard_vocab_limit=False,
            unk_id=3,
            bos_id=0,
            eos_id=1,
            minloglevel=2,
        )
    message = r"^other\.model: expected the ids 0 for unknown and 1 for the boundary, got 3 and 0$"
    with pytest.raises(ValueError, match=message):
        SentencePieceTokenizer(path)


def test_a_known_piece_may_be_a_character_that_is_white_space_to_python_only(tmp_path: Path) -> None:
    """U+0085 is a character to SentencePiece, so a vocabulary may hold it; its token has a span too."""
    path = tmp_path / "tokenizer.model"
    train_tokenizer(["a\x85b c", "b\x85 a"] * 20, TokenizerConfig(vocabulary_size=8, alphabet="bytes"), path)
    tokenizer = SentencePieceTokenizer(path)
    assert "\x85" in tokenizer.pieces()
    assert visible(tokenizer.tokenize("a\x85 \x85"), "a\x85 \x85")[-1] == ("\x85", "\x85")

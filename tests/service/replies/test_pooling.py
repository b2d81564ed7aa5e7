"""Rows of a reply from token rows: which tokens each row is made of, with and without an axis of layers."""

from __future__ import annotations

import numpy as np
import pytest

from model.tokenizer import Tokenized
from service.choices import Pool
from service.engine.backend import Floats
from service.errors import ServiceError
from service.replies.pooling import (
    MANY_TIMES_OVER,
    Encoded,
    Span,
    check_touching,
    normalized,
    pool,
    pool_spans,
    word_and_text,
)
from service.schemas import Text
from tests.service.fake_backend import FakeTokenizer

VECTORS = np.array([[1, 8], [2, 4], [6, 0]], dtype=np.float32)
LAYERS = np.stack([VECTORS, 10 * VECTORS])


def tokens(*spans: tuple[int, int]) -> Tokenized:
    """Return tokens that a tokenizer might have given for these spans."""
    return Tokenized(
        surfaces=["x"] * len(spans),
        ids=[0] * len(spans),
        starts=[start for start, _ in spans],
        ends=[end for _, end in spans],
        words=None,
        visible=[True] * len(spans),
    )


def of_string(text: str, *spans: tuple[int, int], vectors: Floats = VECTORS) -> Encoded:
    return Encoded.of(text, tokens(*spans), vectors)


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("token", [[1, 8], [2, 4], [6, 0]]),
        ("sentence", [[3, 4]]),
        ("sentence_max", [[6, 8]]),
        ("sentence_first", [[1, 8]]),
        ("sentence_last", [[6, 0]]),
        ("word", [[1.5, 6], [6, 0]]),
    ],
)
def test_rows(kind: Pool, rows: list[list[float]]) -> None:
    sentence = of_string("ab c", (0, 1), (1, 2), (3, 4))
    np.testing.assert_array_equal(pool(sentence, kind)[0], rows)
    layered = of_string("ab c", (0, 1), (1, 2), (3, 4), vectors=LAYERS)
    np.testing.assert_array_equal(pool(layered, kind)[0], [rows, (10 * np.array(rows)).tolist()])


def test_the_words_of_a_string_come_with_it() -> None:
    sentence = of_string(" ab\u3000\tc ", (1, 2), (2, 3), (5, 6))
    _, words = pool(sentence, "word")
    assert words == [Span(text="ab", start=1, end=3), Span(text="c", start=5, end=6)]
    assert pool(sentence, "token")[1] is None


def test_a_token_across_two_words_counts_for_both() -> None:
    rows, words = pool(of_string("ab cd", (0, 1), (1, 4), (4, 5)), "word")
    np.testing.assert_array_equal(rows, [[1.5, 6], [4, 2]])
    assert [word["text"] for word in words or []] == ["ab", "cd"]


def test_a_stretch_without_a_token_is_no_word() -> None:
    rows, words = pool(of_string("ab \u200b c", (0, 1), (1, 2), (5, 6)), "word")
    np.testing.assert_array_equal(rows, [[1.5, 6], [6, 0]])
    assert [word["text"] for word in words or []] == ["ab", "c"]


def test_no_word_at_all() -> None:
    rows, words = pool(of_string("\x1c\u200b", (0, 1), vectors=VECTORS[:1]), "word")
    assert (rows.shape, words) == ((0, 2), [])


def test_tokens_that_share_a_span_count_for_its_word() -> None:
    rows, _ = pool(of_string("㈜ b", (0, 1), (0, 1), (2, 3)), "word")
    np.testing.assert_array_equal(rows, [[1.5, 6], [6, 0]])


def test_a_list_has_exactly_one_row_for_each_word() -> None:
    text: Text = ["a", "b-c"]
    sentence = Encoded.of(text, FakeTokenizer().tokenize_words(text), VECTORS)
    rows, words = pool(sentence, "word")
    np.testing.assert_array_equal(rows, [[1, 8], [4, 2]])
    assert words is None
    assert sentence.tokens == [
        Span(text="a", start=0, end=1, word=0),
        Span(text="b", start=0, end=1, word=1),
        Span(text="-c", start=1, end=3, word=1),
    ]


def test_white_space_is_no_row() -> None:
    text = "a _ b"
    sentence = Encoded.of(text, FakeTokenizer().tokenize(text), VECTORS)
    assert sentence.tokens == [Span(text="a", start=0, end=1), Span(text="b", start=4, end=5)]
    np.testing.assert_array_equal(pool(sentence, "token")[0], [[1, 8], [6, 0]])
    np.testing.assert_array_equal(pool(sentence, "sentence")[0], [[3.5, 4]])


def test_normalized_rows_have_length_1_and_zero_stays() -> None:
    rows = normalized(np.array([[[3, 4], [0, 0]], [[0, -2], [1e-30, 0]]], dtype=np.float32))
    np.testing.assert_allclose(rows, np.array([[[0.6, 0.8], [0, 0]], [[0, -1], [1, 0]]]), rtol=1e-6)
    assert rows.dtype == np.float32


@pytest.mark.parametrize(
    ("span", "row"),
    [
        ([0, 1], [1, 8]),
        ([1, 2], [2, 4]),
        ([0, 2], [1.5, 6]),
        ([1, 4], [4, 2]),  # the space within counts for nothing
        ([2, 4], [6, 0]),
        ([0, 4], [3, 4]),
    ],
)
def test_a_span_is_the_mean_of_the_tokens_it_overlaps(span: list[int], row: list[float]) -> None:
    sentence = of_string("ab c", (0, 1), (1, 2), (3, 4), vectors=LAYERS)
    rows, marks = pool_spans(sentence, [span])
    np.testing.assert_array_equal(rows, [[row], [[10 * x for x in row]]])
    assert marks == [Span(text="ab c"[slice(*span)], start=span[0], end=span[1])]


@pytest.mark.parametrize("span", [(0, 1), (1, 4), (3, 4), (0, 6), (2, 6)])
def test_a_word_and_its_text_are_the_rows_of_the_span_and_of_the_sentence(span: tuple[int, int]) -> None:
    text, spans = "ab c d", ((0, 1), (1, 2), (2, 3), (3, 4), (5, 6))
    tokenized = tokens(*spans)
    tokenized.visible[2] = False  # the space
    layers = np.random.default_rng(1).standard_normal((3, 5, 4)).astype(np.float32)
    rows = word_and_text(tokenized, layers, *span)
    encoded = Encoded.of(text, tokenized, layers)
    assert len(encoded.tokens) == 4
    np.testing.assert_allclose(rows[:3], pool_spans(encoded, [list(span)])[0][:, 0], rtol=1e-6)
    np.testing.assert_allclose(rows[3], pool(encoded, "sentence")[0][0, 0], rtol=1e-6)
    assert rows.dtype == np.float32


def test_part_of_a_token_stands_for_all_of_it() -> None:
    rows, _ = pool_spans(of_string("abcd ef", (0, 4), (5, 6), (6, 7)), [[1, 2], [3, 6]])
    np.testing.assert_array_equal(rows, [[1, 8], [1.5, 6]])


def test_spans_in_any_order_twice_or_none() -> None:
    sentence = of_string("ab c", (0, 1), (1, 2), (3, 4))
    rows, marks = pool_spans(sentence, [[3, 4], [0, 1], [3, 4]])
    np.testing.assert_array_equal(rows, [[6, 0], [1, 8], [6, 0]])
    assert [mark["start"] for mark in marks] == [3, 0, 3]
    rows, marks = pool_spans(sentence, [])
    assert (rows.shape, marks) == ((0, 2), [])


def test_spans_that_read_each_token_many_times_over() -> None:
    """They are added up in another way, which must not show."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((2, 50, 70), dtype=np.float32)
    sentence = of_string("x" * 50, *((i, i + 1) for i in range(50)), vectors=vectors)
    spans = [[start, end] for start in range(50) for end in range(start + 1, 51)]
    assert sum(end - start for start, end in spans) > MANY_TIMES_OVER * 50
    rows, _ = pool_spans(sentence, spans)
    expected = np.stack([vectors[:, start:end].mean(axis=1) for start, end in spans], axis=1)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6)


def test_a_span_that_touches_no_token() -> None:
    tokenized = FakeTokenizer().tokenize("ab _ c")  # whose "_" is not shown
    check_touching([[0, 3], [2, 6], [3, 6]], tokenized, "spans[7]")
    for span in ([2, 3], [3, 4], [2, 5]):
        with pytest.raises(ServiceError) as caught:
            check_touching([[0, 1], span], tokenized, "spans[7]")
        assert (caught.value.type.name, caught.value.where) == ("invalid_request", "spans[7][1]")
        assert caught.value.message == (
            "expected a span that touches a token, got one of characters that belong to none"
        )


def test_rows_are_scaled_to_length_1_whatever_their_size() -> None:
    rows = normalized(np.array([[[3e30, 4e30], [3e-30, 4e-30]], [[0, 0], [-0.0, -2]]], dtype=np.float32))
    assert rows.dtype == np.float32
    expected = np.array([[[0.6, 0.8], [0.6, 0.8]], [[0, 0], [0, -1]]])
    np.testing.assert_allclose(rows, expected, rtol=1e-6)

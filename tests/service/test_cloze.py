"""Where the blank is, which candidates may fill it, and what stands around it."""

from __future__ import annotations

import pytest

from model.tokenizer import Tokenized
from service.cloze import PLACEHOLDER, Context, Gap, check_candidates, find_gap, to_read
from service.errors import ErrorType, ServiceError


@pytest.mark.parametrize(
    ("text", "asked", "start", "end"),
    [
        ("얼굴에 ____ 가득해서", None, 4, 8),
        ("____", None, 0, 4),
        ("max_tokens is __.", None, 14, 16),
        ("a ____ and a ____", [2, 6], 2, 6),
        ("no underscores", [3, 14], 3, 14),
        ("between", [3, 3], 3, 3),
        ("all", [0, 3], 0, 3),
        ("👍🏽👍🏽", [2, 4], 2, 4),
        ("", [0, 0], 0, 0),
    ],
)
def test_where_the_blank_is(text: str, asked: list[int] | None, start: int, end: int) -> None:
    assert find_gap(text, asked, 30) == Gap(text, start, end)


@pytest.mark.parametrize(
    ("text", "asked", "message", "where"),
    [
        ("none_here", None, "expected one blank, a run of two or more underscores, got none", "text"),
        (
            "a __ and ____",
            None,
            "expected one blank, a run of two or more underscores, got 2: say which with `blank`",
            "text",
        ),
        ("abc", [1], "expected [start, end], got a list of 1", "blank"),
        ("abc", [1, 2, 3], "expected [start, end], got a list of 3", "blank"),
        (
            "abc",
            [2, 1],
            "expected 0 <= start <= end <= 3, the length of the text, got the number 2 and the number 1",
            "blank",
        ),
        (
            "abc",
            [-1, 1],
            "expected 0 <= start <= end <= 3, the length of the text, got the number -1 and the number 1",
            "blank",
        ),
        (
            "가나다",
            [0, 4],
            "expected 0 <= start <= end <= 3, the length of the text, got the number 0 and the number 4",
            "blank",
        ),
    ],
)
def test_no_blank(text: str, asked: list[int] | None, message: str, where: str) -> None:
    with pytest.raises(ServiceError) as raised:
        find_gap(text, asked, 30)
    assert (raised.value.type, raised.value.message, raised.value.where) == (
        ErrorType.invalid_request,
        message,
        where,
    )


def test_a_text_that_is_too_long() -> None:
    assert find_gap("a __", None, 4) == Gap("a __", 2, 4)
    with pytest.raises(ServiceError) as raised:
        find_gap("ab __", None, 4)
    assert (raised.value.type, raised.value.where) == (ErrorType.input_too_long, "text")
    assert raised.value.message == "expected at most 4 characters, got 5"


def test_filling() -> None:
    assert find_gap("얼굴에 ____ 가득해서", None, 30).filled("화색이") == "얼굴에 화색이 가득해서"
    assert Gap("ac", 1, 1).filled("b") == "abc"


@pytest.mark.parametrize(
    ("candidates", "type", "message", "where"),
    [
        (["a", ""], "invalid_request", "expected text, got an empty string", "candidates[1]"),
        (["\t\u3000"], "invalid_request", "expected text, got white space alone", "candidates[0]"),
        (
            ["a", "b", "a"],
            "invalid_request",
            "expected each candidate once, got candidates[0] again",
            "candidates[2]",
        ),
        (["abcd"], "too_many_inputs", "expected at most 3 candidates, got 4", "candidates"),
        (
            ["a", "b" * 9],
            "input_too_long",
            "expected at most 10 characters in the filled-in text, got 11",
            "candidates[1]",
        ),
    ],
)
def test_candidates_that_cannot_fill_it(candidates: list[str], type: str, message: str, where: str) -> None:
    gap = find_gap("a __", None, 30)
    check_candidates(gap, ["a", "b b", "b" * 8], max_candidates=3, max_characters=10)
    listed = list(candidates[0]) if type == "too_many_inputs" else candidates
    with pytest.raises(ServiceError) as raised:
        check_candidates(gap, listed, max_candidates=3, max_characters=10)
    assert (raised.value.type.name, raised.value.message, raised.value.where) == (type, message, where)


def tokenized(*tokens: tuple[str, int, int]) -> Tokenized:
    """Return tokens of which each is given by surface, start and end."""
    surfaces, starts, ends = (list(column) for column in zip(*tokens, strict=True))
    visible = [surface != "▁" for surface in surfaces]
    return Tokenized(surfaces, list(range(2, 2 + len(tokens))), starts, ends, None, visible)


def surfaces(context: Context) -> tuple[list[str], list[str], bool]:
    return context.before, context.after, context.starts_word


def test_the_context_of_a_word() -> None:
    gap = find_gap("in ____ out", None, 30)
    tokens = tokenized(("▁in", 0, 2), ("▁", 3, 3), (PLACEHOLDER, 3, 4), ("▁out", 5, 8))
    context = Context.of(gap, tokens)
    assert surfaces(context) == (["▁in"], ["▁out"], True)
    assert context.num_tokens == 2
    assert context.spaced() == ["▁in", "▁"]
    assert surfaces(context) == (["▁in"], ["▁out"], True)
    assert context.continuations() == [("", ["▁out"])]


def test_the_context_of_a_word_with_a_particle() -> None:
    gap = find_gap("____에서는 잔다", None, 30)
    tokens = tokenized(
        ("▁", 0, 0), (PLACEHOLDER, 0, 1), ("에서", 1, 3), ("는", 3, 4), ("▁잔", 5, 6), ("다", 6, 7)
    )
    context = Context.of(gap, tokens)
    assert surfaces(context) == ([], ["에서", "는", "▁잔", "다"], True)
    assert context.continuations() == [
        ("", ["에서", "는", "▁잔", "다"]),
        ("에서", ["는", "▁잔", "다"]),
        ("에서는", ["▁잔", "다"]),
    ]


def test_a_piece_goes_on_for_two_tokens_at_most() -> None:
    gap = find_gap("____abc", None, 30)
    tokens = tokenized(("▁", 0, 0), (PLACEHOLDER, 0, 1), ("a", 1, 2), ("b", 2, 3), ("c", 3, 4))
    assert [text for text, _ in Context.of(gap, tokens).continuations()] == ["", "a", "ab"]


def test_the_context_within_a_word() -> None:
    tokens = tokenized(("▁un", 0, 2), (PLACEHOLDER, 2, 3), ("able", 3, 7))
    assert surfaces(Context.of(Gap("un__able", 2, 4), tokens)) == (["▁un"], ["able"], False)


def test_unknown_characters_beside_the_blank_are_no_part_of_it() -> None:
    tokens = tokenized(("▁a", 0, 1), ("▁", 2, 2), (f"뷁{PLACEHOLDER}꿻", 2, 5), ("▁b", 6, 7))
    context = Context.of(Gap("a 뷁__꿻 b", 3, 5), tokens)
    assert surfaces(context) == (["▁a", "▁", "뷁"], ["꿻", "▁b"], False)
    tokens = tokenized(("▁a", 0, 1), ("▁", 2, 2), (f"{PLACEHOLDER}꿻", 2, 4))
    assert surfaces(Context.of(Gap("a __꿻", 2, 4), tokens)) == (["▁a"], ["꿻"], True)


def test_a_tokenizer_that_marks_unknown_words() -> None:
    tokens = tokenized((f"▁{PLACEHOLDER}", 0, 1), ("▁b", 2, 3))
    assert surfaces(Context.of(Gap("__ b", 0, 2), tokens)) == ([], ["▁b"], True)


def test_nothing_around() -> None:
    context = Context.of(Gap("__", 0, 2), tokenized(("▁", 0, 0), (PLACEHOLDER, 0, 1)))
    assert surfaces(context) == ([], [], True)
    assert context.continuations() == [("", [])]


def test_whether_a_token_shows_the_candidate() -> None:
    gap = find_gap("a __ b", None, 30)
    assert gap.shows("xy", tokenized(("▁a", 0, 1), ("▁xy", 2, 4), ("▁b", 5, 6)))
    assert gap.shows("xy", tokenized(("▁a xy b", 0, 6)))  # grown together with what is around
    assert not gap.shows("\u200b", tokenized(("▁a", 0, 1), ("▁b", 4, 5)))
    assert not gap.shows("\u200b", tokenized(("▁a", 0, 1), ("▁", 2, 3), ("▁b", 4, 5)))


def test_tokens_to_be_read() -> None:
    tokens = to_read(["▁a", "b"])
    assert (tokens.surfaces, len(tokens), tokens.words) == (["▁a", "b"], 2, None)

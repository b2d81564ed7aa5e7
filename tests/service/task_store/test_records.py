"""Names of tasks: what is one, and that one name has one form."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.task_store.records import FitState, task_name


@pytest.mark.parametrize(
    "name", ["sense-ko", "배", "눈_2", "v1.2", "a" * 64, "배" * 64, "หนังสือ", "किताब", "7"]
)
def test_names(name: str) -> None:
    assert task_name(name) == unicodedata.normalize("NFC", name)


def test_jamo_and_syllables_are_one_name() -> None:
    assert task_name(unicodedata.normalize("NFD", "배")) == "배"
    assert task_name(unicodedata.normalize("NFD", "배" * 64)) == "배" * 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a name of 1 to 64 characters, got 0"),
        ("a" * 65, "expected a name of 1 to 64 characters, got 65"),
        (".", "expected a name that begins with a letter or a digit, got '.'"),
        ("..", "expected a name that begins with a letter or a digit, got '.'"),
        ("-x", "expected a name that begins with a letter or a digit, got '-'"),
        ("\u0301x", r"expected a name that begins with a letter or a digit, got '\u0301'"),
        ("a/b", "expected a name of letters, digits, - _ and ., got '/' in it"),
        ("enko:pos", "expected a name of letters, digits, - _ and ., got ':' in it"),
        ("a b", "expected a name of letters, digits, - _ and ., got ' ' in it"),
        ("a%2F", "expected a name of letters, digits, - _ and ., got '%' in it"),
        ("a\n", r"expected a name of letters, digits, - _ and ., got '\n' in it"),
        ("a\u200b", r"expected a name of letters, digits, - _ and ., got '\u200b' in it"),
        ("a\u202e", r"expected a name of letters, digits, - _ and ., got '\u202e' in it"),
        ("a\ud800", r"expected a name of letters, digits, - _ and ., got '\ud800' in it"),
        ("a\0", r"expected a name of letters, digits, - _ and ., got '\x00' in it"),
    ],
)
def test_what_is_no_name(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole message is compared
        task_name(text)
    assert str(caught.value) == message


@given(st.text(max_size=70))
def test_every_name_is_its_own_name_and_one_segment_of_a_path(text: str) -> None:
    try:
        name = task_name(text)
    except ValueError:
        return
    assert task_name(name) == name
    assert len(name) <= 64
    assert unquote(quote(name, safe="")) == name
    assert not set(name) & set("/\\:?#%&= \t\r\n\0")


def test_two_states_are_live() -> None:
    assert [state.value for state in FitState if state.is_live] == ["queued", "running"]

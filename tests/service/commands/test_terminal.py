"""Columns of text of any width, and colour only where it is wanted."""

from __future__ import annotations

import io
import unicodedata

import pytest

from service.commands.terminal import is_coloured, printable, table, width


@pytest.mark.parametrize(
    ("text", "columns"),
    [("bank", 4), ("배를", 4), ("a배", 3), ("ＡＢ", 4), ("🚢", 2), ("café", 4), ("क्या", 2 + 1), ("", 0)],
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


def test_jamo_stand_as_the_syllable_that_they_spell() -> None:
    assert width(printable(unicodedata.normalize("NFD", "강배 é"))) == 6


def test_nothing_that_commands_a_terminal_is_printed() -> None:
    assert printable("a\x1b[31mb\tc\r\nd\u2028e\x7f") == "a�[31mb�c��d�e�"
    assert printable("txt.\u202egpj\u2066") == "txt.�gpj�"
    assert printable("👩\u200d🚀 שלום") == "👩\u200d🚀 שלום"


def test_columns_stand_under_each_other_whatever_their_script() -> None:
    rows = [("token", "n"), ("배", "10"), ("bank", "5")]
    assert table(rows, numbers=(1,)) == ["token   n", "배     10", "bank    5"]
    assert {width(line) for line in table(rows, numbers=(1,))} == {9}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("asked", "out", "environment", "expected"),
    [
        ("auto", Terminal(), {}, True),
        ("auto", io.StringIO(), {}, False),
        ("auto", Terminal(), {"NO_COLOR": "1"}, False),
        ("auto", Terminal(), {"NO_COLOR": ""}, True),
        ("auto", Terminal(), {"TERM": "dumb"}, False),
        ("always", io.StringIO(), {"NO_COLOR": "1"}, True),
        ("never", Terminal(), {}, False),
    ],
)
def test_colour(asked: str, out: io.StringIO, environment: dict[str, str], expected: bool) -> None:
    assert is_coloured(asked, out, environment) is expected

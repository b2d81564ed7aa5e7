"""One line for whatever keeps a command from beginning."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.refusal import one_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a: expected b, got c"), "a: expected b, got c"),
        (OSError(98, "cannot listen on host port 1: taken"), "cannot listen on host port 1: taken"),
        (OSError("only words"), "only words"),
    ],
)
def test_the_line(error: Exception, line: str) -> None:
    assert one_line(error) == line


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "nothing").read_bytes()
    assert one_line(caught.value) == f"{tmp_path / 'nothing'}: No such file or directory"

"""The command line. What it does when it serves, or cannot, is in test_end_to_end.py."""

from __future__ import annotations

import pytest

from service.command_line import main


def test_help_names_every_flag_and_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--help"])
    page = " ".join(capsys.readouterr().out.split())
    assert caught.value.code == 0
    assert "--bundle FOLDER" in page
    assert "POLYSEME_QUEUE_TOKENS, default 32768" in page
    assert "Exit status: 0 after SIGTERM, SIGHUP or Ctrl-C; 2, with one line that says why" in page


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("polyseme ")


@pytest.mark.parametrize("arguments", [[], ["serve", "--porte", "1"], ["sing"]])
def test_what_is_no_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: polyseme")

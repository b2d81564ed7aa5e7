"""`polyseme score` with a real tiny bundle: the numbers of the route, on every way in and out."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.command_line import main
from service.commands.score import GROUP_CHARACTERS
from service.engine.backend import open_backend
from tests.service.conftest import fake_settings, serving
from tests.service.routes.asking import ask
from tests.service.tiny_bundle import write_tiny_bundle

SENTENCES = ["The bank of the river.", "강에서 배를 탔다", "배를 깎아 먹었다"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture(scope="module")
def many() -> list[str]:
    """More than one group of them, one of which is larger than a group."""
    return [
        *(f"{SENTENCES[i % 3]} {i}" for i in range(250)),
        "배를 탔다 " * (GROUP_CHARACTERS // 5),
        *SENTENCES,
    ]


@pytest.fixture(scope="module")
def reply(bundle: Path, many: list[str]) -> Any:
    """What the route answers to all of them at once."""
    with serving(create_app(fake_settings(bundle=(bundle,)), open_backend)) as client:
        return ask(client, "/v1/score", inputs=many)


def score(bundle: Path, *arguments: object) -> int:
    return main(["score", *map(str, arguments), "--bundle", str(bundle), "--threads", "1"])


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, encoding="utf-8"))
    return data


def test_a_file_gives_the_reply_of_the_route(
    bundle: Path, many: list[str], reply: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Empty lines and the ends of lines aside, to the last digit, group by group as all at once."""
    path = tmp_path / "sentences.txt"
    path.write_bytes("\r\n\n".join(many).encode())
    assert score(bundle, "--file", path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == reply


def test_arguments_and_standard_input_give_the_same(
    bundle: Path, reply: Any, stdin: io.BytesIO, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(bundle, *SENTENCES, "--json") == 0
    given = json.loads(capsys.readouterr().out)
    assert given == {**reply, "scores": reply["scores"][-3:]}
    stdin.write("\n".join(SENTENCES).encode())
    stdin.seek(0)
    assert score(bundle, "--json") == 0
    assert json.loads(capsys.readouterr().out) == given


def test_columns_have_the_same_numbers(bundle: Path, reply: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(bundle, SENTENCES[1]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = reply["scores"][-2]
    assert lines[0] == SENTENCES[1]
    shown = [line.rsplit(maxsplit=2) for line in lines[2 : 2 + len(expected["tokens"])]]
    forward, backward = (expected[way]["log_probabilities"] for way in ("forward", "backward"))
    assert shown == [
        [token["text"], f"{after:.2f}", f"{before:.2f}"]
        for token, after, before in zip(expected["tokens"], forward, backward, strict=True)
    ]
    assert f"\nboth directions: perplexity {expected['perplexity']:,.1f}" in "\n".join(lines)


def test_colour_is_for_those_who_ask(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(bundle, *SENTENCES, "--color", "always") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines] == ["->", "<-", ""] * 3 + ["su"]
    assert "\x1b[" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "piped", "line"),
    [
        (["ok", ""], b"", "sentence 2: expected at least one word, got an empty string"),
        (["ok", "\u200b"], b"", "sentence 2: expected text, got only characters that the tokenizer drops"),
        (["ok", "\udcff"], b"", "sentence 2: expected UTF-8, got byte 0xff"),
        ([], b"ok\n\xff\n", "standard input:2: expected UTF-8, got byte 0xff"),
        ([], b"ok\n\n\xe2\x80\x8b\n", "standard input:3: expected text, got only characters that the"),
        ([], b"\n \n", "standard input: expected a sentence a line, got none"),
        (["ok", "--file", "x"], b"", "expected sentences or --file, got both"),
        (["--file", "/none/such"], b"", "/none/such: No such file or directory"),
        (["ok", "--bundle", "b"], b"", "--bundle: expected one folder, got 2"),
        (["ok", "--threads", "x"], b"", "--threads: expected a whole number from 0 to 1024, got 'x'"),
        (["a" * 200_001], b"", "sentence 1: expected at most 200000 characters, got 200001"),
    ],
)
def test_what_is_wrong_is_one_line(
    bundle: Path,
    arguments: list[str],
    piped: bytes,
    line: str,
    stdin: io.BytesIO,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stdin.write(piped)
    stdin.seek(0)
    threads = [] if "--threads" in arguments else ["--threads", "1"]
    assert main(["score", *arguments, *threads, "--bundle", str(bundle)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"polyseme: {line}")
    assert captured.err.count("\n") == 1

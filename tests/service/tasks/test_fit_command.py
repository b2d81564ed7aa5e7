"""`polyseme fit` with a real tiny bundle: what it keeps a server serves, what it writes a server takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model.tasks.task import Task
from service.command_line import main
from service.tasks.fit_command import ProgressBar
from tests.service.processes import server_process
from tests.service.test_workers_tasks import EXAMPLES
from tests.service.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"{each['text']}\t{each['label']}\n" for each in EXAMPLES), encoding="utf-8")
    return path


def fit(*arguments: object) -> int:
    return main(["fit", *map(str, arguments), "--threads", "1"])


def test_what_is_learned_is_served(
    bundle: Path, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once kept where the server finds it, once uploaded; both are the same, and the same as by HTTP."""
    tasks, out = tmp_path / "tasks.sqlite", tmp_path / "task.json"
    assert fit("lang", train, "--kind", "classify", "--bundle", bundle, "--tasks-path", tasks) == 0
    page = capsys.readouterr().err
    assert "100% learning the mix and the head" in page
    assert "learned" in page
    assert f"kept as lang in {tasks}" in page
    assert fit("lang", train, "--kind", "classify", "--bundle", bundle, "--out", out) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert Task.from_document(document).labels == ("en", "ko")
    with server_process("--bundle", bundle, "--tasks-path", tasks, "--threads", "1") as (_, client):
        assert client.get("/v1/tasks/lang").json() == document
        assert client.put("/v1/tasks/moved", json={**document, "name": "moved"}).status_code == 201
        body = {"inputs": [{"text": "The bank lent her money"}]}
        (prediction,) = client.post("/v1/tasks/moved/predict", json=body).json()["predictions"]
        assert prediction["label"] == "en"


def test_judged_on_another_file(
    bundle: Path, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev, out = tmp_path / "dev.jsonl", tmp_path / "task.json"
    dev.write_text("\n".join(map(json.dumps, EXAMPLES[5:15])), encoding="utf-8")
    assert fit("x", train, "--kind", "classify", "--dev", dev, "--bundle", bundle, "--out", out) == 0
    report = json.loads(out.read_text(encoding="utf-8"))["report"]
    assert (report["held_out"], report["num_held_out"], report["num_examples"]) == ("dev", 10, 20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", "{train}: expected at least 10 sentences, got 1"),
        ("a\tb\n" * 12, "{train}: expected at least 2 labels, got 1"),
        ("a\tb\nc\n", "{train}:2: expected TEXT and LABEL between tabs, got 1 columns"),
        (
            "a\tb\n" * 12 + "\u200b\tc\n",
            "{train}:13: expected text, got only characters that the tokenizer drops",
        ),
    ],
)
def test_a_file_that_cannot_be_learned_from(
    bundle: Path, train: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train.write_text(text, encoding="utf-8")
    out = train.with_name("task.json")
    assert fit("x", train, "--kind", "classify", "--bundle", bundle, "--out", out) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"polyseme: {message.format(train=train)}"
    assert not out.exists()


def test_names_and_folders_that_are_none(
    bundle: Path, train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("a b", train, "--kind", "classify") == 2
    assert (
        capsys.readouterr().err
        == "polyseme: NAME: expected a name of letters, digits, - _ and ., got ' ' in it\n"
    )
    assert fit("x", tmp_path / "none.tsv", "--kind", "classify") == 2
    assert fit("x", train, "--kind", "classify", "--bundle", tmp_path / "none") == 2


def test_a_store_that_cannot_be_asked_is_told_before_anything_is_learned(
    bundle: Path, train: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert fit("x", train, "--kind", "classify", "--bundle", bundle, "--tasks-path", train) == 2
    expected = f"polyseme: task store {train}: file is not a database (SQLITE_NOTADB)\n"
    assert capfd.readouterr().err == expected


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


def test_the_bar_is_written_over_on_a_terminal() -> None:
    terminal = Terminal()
    bar = ProgressBar(terminal)  # type: ignore[arg-type]
    bar(0.5, "embedding")
    bar(1.0, "learning")
    half, whole = "#" * 15 + " " * 15, "#" * 30
    assert terminal.text == f"\r\x1b[K[{half}]  50% embedding\r\x1b[K[{whole}] 100% learning\n"

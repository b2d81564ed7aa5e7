"""`polyseme tasks` on a real store: what a server sees, what people read, what machines read."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.bundle import Bundle
from model.tasks.fit import fit
from model.tasks.task import Task
from service.app import create_app
from service.command_line import main
from service.engine.backend import open_backend
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile
from service.tasks.learned_tasks import new_task
from tests.model.made_up_tasks import labelled_layers
from tests.service.conftest import fake_settings, serving
from tests.service.postgresql_server import PostgreSQLServer
from tests.service.tiny_bundle import write_tiny_bundle

MIX = {"kind": "tag", "scalars": [0.0, 1.0, -1.0], "gamma": 2.0}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny").folder


@pytest.fixture(scope="module")
def learned(bundle: Path) -> Any:
    """The document of a task that was learned, of made-up layers of the bundle's size."""
    manifest = Bundle.open(bundle).manifest
    features, labels = labelled_layers(40, signal_layer=1, dim=manifest.architecture.dimension)
    return fit("classify", features, labels).task("lang", "tiny", manifest.sha256).to_document()


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    return ["--tasks-path", str(tmp_path / "state" / "tasks.sqlite")]


@pytest.fixture
def client(bundle: Path, flags: list[str]) -> Iterator[httpx.Client]:
    """Of a server with the same store, a learned task and a mix in it."""
    settings = fake_settings(bundle=(bundle,), tasks_path=Path(flags[1]))
    with serving(create_app(settings, open_backend)) as client:
        yield client


@pytest.fixture
def two(client: httpx.Client, learned: Any) -> httpx.Client:
    assert client.put("/v1/tasks/lang", json=learned).status_code == 201
    assert client.put("/v1/tasks/품사", json=MIX).status_code == 201
    return client


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_machines_read_what_the_route_answers(
    two: httpx.Client, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", "list", "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out) == two.get("/v1/tasks").json()
    assert main(["tasks", "export", "lang", *flags]) == 0
    assert json.loads(capsys.readouterr().out) == two.get("/v1/tasks/lang").json()
    assert main(["tasks", "show", "lang", "--json", *flags]) == 0
    document, entries = two.get("/v1/tasks/lang").json(), two.get("/v1/tasks").json()["tasks"]
    shown = {**entries[0], "labels": document["labels"], "report": document["report"]}
    assert json.loads(capsys.readouterr().out) == shown


def test_people_read_a_line_for_each(
    two: httpx.Client, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", "list", *flags]) == 0
    entries = two.get("/v1/tasks").json()["tasks"]
    head, first, second = lines(capsys)
    assert head.split() == ["NAME", "KIND", "MODEL", "LABELS", "LAYERS", "UPDATED", "(UTC)", "BYTES"]
    weights = " ".join(f"{weight:.2f}" for weight in entries[0]["weights"])
    assert first.startswith(f"lang  classify  tiny        2  {weights}  ")
    assert second.startswith("품사  tag       tiny        0  0.24 0.67 0.09  ")
    assert second.endswith(f"{entries[1]['size_bytes']:,}")
    assert main(["tasks", "list", "-q", *flags]) == 0
    assert lines(capsys) == ["lang", "품사"]


def test_a_report_is_shown(
    two: httpx.Client, learned: Any, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", "show", "lang", *flags]) == 0
    page = lines(capsys)
    report = learned["report"]
    counts = ", ".join(f"{label} ({count})" for label, count in report["label_counts"].items())
    assert page[0] == "lang"
    assert page[2] == f"  model   tiny, sha256 {learned['model_sha256']}"
    assert page[3] == f"  labels  {counts}"
    table = page[page.index("") + 1 :]
    assert [row.split("  ")[0].strip() for row in table[1:7]] == [row["name"] for row in report["rows"]]
    for row, expected in zip(table[1:7], report["rows"], strict=True):
        assert f" {expected['accuracy']:.1%}  {expected['accuracy_low']:.1%} to " in row
    weights = ", ".join(f"{weight:.2f}" for weight in report["weights"])
    assert table[7] == f"weights of the layers: {weights}; gamma {report['gamma']:.3g}"
    assert table[-1] == report["verdict"]


def test_nothing_in_a_task_commands_the_terminal(
    client: httpx.Client, learned: Any, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report = learned["report"]
    rows = [{**row, "name": "\x1b[2J\n" + row["name"]} for row in report["rows"]]
    hostile = {**learned, "report": {**report, "rows": rows, "verdict": "\x1b]0;title\x07\nlearned  100%"}}
    assert client.put("/v1/tasks/lang", json=hostile).status_code == 201
    assert main(["tasks", "show", "lang", *flags]) == 0
    page = capsys.readouterr().out
    assert set(page) & {"\x1b", "\x07"} == set()
    assert page.splitlines()[-1] == "�]0;title��learned  100%"


def test_a_mix_has_no_report(two: httpx.Client, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "show", "품사", *flags]) == 0
    expected = ["no report: learned elsewhere", "weights of the layers: 0.24, 0.67, 0.09; gamma 2"]
    assert lines(capsys)[-2:] == expected
    assert main(["tasks", "show", "품사", "--json", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["report"] is None


def test_what_is_exported_can_be_imported_under_another_name_and_is_served(
    two: httpx.Client, bundle: Path, learned: Any, flags: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "task.json"
    assert main(["tasks", "export", "lang", "--out", str(path), *flags]) == 0
    command = ["tasks", "import", str(path), "--name", "moved", "--bundle", str(bundle), *flags]
    assert main(command) == 0
    assert main(command) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"written to {path}", f"kept moved in {flags[1]}", f"replaced moved in {flags[1]}",
    ]  # fmt: skip
    assert two.get("/v1/tasks/moved").json() == {**learned, "name": "moved"}
    inputs = {"inputs": [{"text": "The bank lent her money"}]}
    replies = [two.post(f"/v1/tasks/{name}/predict", json=inputs).json() for name in ("lang", "moved")]
    assert replies[0] == replies[1]


def test_a_mix_alone_is_of_the_bundle_that_is_given(
    bundle: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(MIX).encode())))
    assert main(["tasks", "import", "-", "--name", "품사", "--bundle", str(bundle), *flags]) == 0
    assert main(["tasks", "export", "품사", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["model"], document["scalars"], document["gamma"]) == ("tiny", [0.0, 1.0, -1.0], 2.0)


@pytest.mark.parametrize(
    ("document", "line"),
    [
        ("[", "expected JSON, but: "),
        ("[1]", "name: expected a document with one, or --name"),
        ('{"kind": "tag"}', "name: expected a document with one, or --name"),
        (
            '{"name": "a b", "kind": "tag"}',
            "name: expected a name of letters, digits, - _ and ., got ' ' in it",
        ),
        (
            '{"name": "x", "kind": "tag", "scalars": [1, 2]}',
            "scalars: expected 3 numbers, one for each layer, ",
        ),
        (
            '{"name": "x", "kind": "dance", "scalars": [1, 2, 3]}',
            "kind: expected classify or tag or sense, got 'dance'",
        ),
        ('{"name": "x", "kind": "tag", "scalars": [1, 2, 3], "model": "y"}', "model: expected the string "),
        ('{"name": "x", "kind": "tag", "scalars": [1, 2, 3], "\\u001b[2J\\n": 1}', "�[2J�: "),
    ],
)
def test_a_document_that_is_no_task_of_the_bundle(
    document: str,
    line: str,
    bundle: Path,
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "task.json"
    path.write_text(document, encoding="utf-8")
    assert main(["tasks", "import", str(path), "--bundle", str(bundle), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"polyseme: {path}: {line}")
    assert error.count("\n") == 1
    assert not Path(flags[1]).exists()


def test_a_task_of_another_model_is_refused(
    bundle: Path, learned: Any, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "task.json", write_tiny_bundle(tmp_path / "other", seed=1).folder
    path.write_text(json.dumps(learned), encoding="utf-8")
    assert main(["tasks", "import", str(path), "--bundle", str(other), *flags]) == 2
    expected = f"polyseme: {path}: model_sha256: expected the model that the task was learned on, "
    assert capsys.readouterr().err.startswith(expected)
    both = ["--bundle", str(other), "--bundle", str(bundle)]
    assert main(["tasks", "import", str(path), *both, *flags]) == 0


class Answering(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "status", "left"), [("y\n", 0, []), ("YES\n", 0, []), ("n\n", 1, ["품사"])]
)
def test_deleting_asks(
    answer: str, status: int, left: list[str], two: httpx.Client, flags: list[str],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["tasks", "delete", "lang", "--yes", *flags]) == 0
    assert two.get("/v1/tasks/lang").status_code == 404
    monkeypatch.setattr(sys, "stdin", Answering(answer))
    assert main(["tasks", "delete", "품사", *flags]) == status
    assert f"delete 품사 from {flags[1]}? [y/N] " in capsys.readouterr().err
    assert [task["name"] for task in two.get("/v1/tasks").json()["tasks"]] == left


def test_nobody_is_asked_without_a_terminal(
    two: httpx.Client, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["tasks", "delete", "lang", *flags]) == 2
    assert capsys.readouterr().err == "polyseme: expected a terminal to ask on, or --yes\n"
    assert main(["tasks", "delete", "lang", "none", "--yes", *flags]) == 1
    assert len(two.get("/v1/tasks").json()["tasks"]) == 2


@pytest.mark.parametrize("command", [["show", "x"], ["export", "x"], ["delete", "x", "-y"]])
def test_a_task_that_is_not_there(
    command: list[str], flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tasks", *command, *flags]) == 1
    expected = f"polyseme: no task x in {flags[1]}; `polyseme tasks list` shows what there is\n"
    assert capsys.readouterr().err == expected


def test_a_task_of_a_newer_version_is_one_line(
    flags: list[str], learned: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    store = TaskStore(SQLiteFile(Path(flags[1])))
    document = json.dumps({**learned, "format_version": 99})
    store.put(replace(new_task(Task.from_document(learned)), document=document))
    store.close()
    assert main(["tasks", "show", "lang", *flags]) == 2
    assert capsys.readouterr().err == "polyseme: task lang: format_version: expected 1, got 99\n"
    assert main(["tasks", "list", "-q", *flags]) == 0


def test_reading_makes_no_file(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks", "list", *flags]) == 0
    assert capsys.readouterr() == ("", f"no task in {flags[1]}\n")
    assert main(["tasks", "list", "--json", *flags]) == 0
    assert capsys.readouterr().out == '{"tasks": []}\n'
    assert not Path(flags[1]).parent.exists()


def test_a_store_that_cannot_be_asked_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tasks.sqlite"
    path.write_text("a shopping list, and nothing else; " * 100, encoding="utf-8")
    assert main(["tasks", "list", "--tasks-path", str(path)]) == 2
    expected = f"polyseme: task store {path}: file is not a database (SQLITE_NOTADB)\n"
    assert capfd.readouterr().err == expected


def test_the_same_in_a_database(
    postgresql_server: PostgreSQLServer, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--database-url", postgresql_server.new_url()]
    path = tmp_path / "mix.json"
    path.write_text(json.dumps(MIX), encoding="utf-8")
    assert main(["tasks", "import", str(path), "--name", "품사", "--bundle", str(bundle), *flags]) == 0
    assert main(["tasks", "list", "-q", *flags]) == 0
    assert lines(capsys) == ["품사"]

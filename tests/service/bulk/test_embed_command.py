"""The command: standard input, what it prints for machines, learned mixes, refusals."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from model.bundle import Bundle
from model.tasks.task import Task
from service.bulk.extras import need
from service.command_line import main
from service.refusal import Refusal
from service.task_store.store import TaskStore
from service.task_store.target import SQLiteFile
from service.tasks.learned_tasks import new_task
from tests.service.bulk.conftest import Embed
from tests.service.bulk.reference import Reference
from tests.service.processes import ROOT
from tests.service.tiny_bundle import write_tiny_bundle


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("The bank of the river\n강에서 배를 탔다\n", encoding="utf-8")
    return path


def vectors(out: Path, row: int = 0) -> list[list[float]]:
    found: list[list[float]] = pq.read_table(out)["vectors"][row].as_py()
    return found


def test_what_machines_read(embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--json") == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert printed.err.startswith("100% ")
    assert summary.pop("seconds") > 0
    assert summary.pop("tokens_per_s") > 0
    num_tokens = sum(map(len, pq.read_table(out)["tokens"].to_pylist()))
    assert summary.pop("tokens") >= num_tokens  # those that are not shown are read too
    assert summary == {
        "out": str(out), "format": "parquet", "model": "tiny", "rows": 2, "embedded": 2, "bad": 0,
        "bad_rows": None, "vectors": num_tokens, "files": 1, "files_made": 1,
    }  # fmt: skip


def test_standard_input_resumes_too(
    embed: Embed, corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = corpus.with_name("out")
    for made in (1, 0):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(corpus.read_bytes())))
        assert embed("-", out, "--input-format", "text", "--json") == 0
        assert json.loads(capsys.readouterr().out)["files_made"] == made
    assert pq.read_table(out)["file"].to_pylist() == ["-", "-"]


def test_standard_input_that_is_closed(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after <&-
    assert embed("-", tmp_path / "out", "--input-format", "text") == 2
    assert capsys.readouterr().err == "polyseme: INPUT: expected standard input to be open, got it closed\n"


def test_a_pipe_that_has_a_name(embed: Embed, corpus: Path) -> None:
    """As the shell makes one for <(zcat corpus.txt.gz)."""
    pipe, out = corpus.with_name("pipe"), corpus.with_name("out")
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(pipe.write_bytes, corpus.read_bytes())
        assert embed(pipe, out, "--input-format", "text") == 0
    assert pq.read_table(out)["text"].to_pylist() == corpus.read_text(encoding="utf-8").splitlines()


def test_the_mix_of_a_task(
    embed: Embed, bundle: Bundle, corpus: Path, reference: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Task("sense", "sense", "tiny", bundle.manifest.sha256, (0.2, 1.4, -0.3), 0.5)
    tasks = corpus.with_name("tasks.sqlite")
    store = TaskStore(SQLiteFile(tasks))
    store.put(new_task(task))
    store.close()
    out = corpus.with_name("out")
    assert embed(corpus, out, "--task", "sense", "--tasks-path", tasks) == 0
    layers_LTD = reference.layers("The bank of the river")
    expected = 0.5 * np.tensordot(task.weights, layers_LTD, axes=1)
    np.testing.assert_allclose(vectors(out), expected, rtol=0, atol=1e-5)
    assert json.loads(pq.read_schema(out / "part-000000.parquet").metadata[b"polyseme"])["gamma"] == 0.5
    capsys.readouterr()
    assert embed(corpus, corpus.with_name("no"), "--task", "none", "--tasks-path", tasks) == 2
    assert capsys.readouterr().err.startswith("polyseme: --task: expected the name of a task, got ")
    assert not corpus.with_name("no").exists()


def test_a_task_that_is_not_to_be_had_is_one_line(
    embed: Embed, bundle: Bundle, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks, out = corpus.with_name("tasks.sqlite"), corpus.with_name("out")

    def refusal(name: str = "sense") -> str:
        assert embed(corpus, out, "--task", name, "--tasks-path", tasks) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    none = "polyseme: --task: expected the name of a task, got {}: `polyseme tasks list` shows what there is"
    assert refusal() == none.format('the string "sense"')
    assert not tasks.exists()  # reading makes no file
    assert refusal("a b").startswith("polyseme: --task: ")
    store = TaskStore(SQLiteFile(tasks))
    store.put(new_task(Task("sense", "sense", "other", "0" * 64, (0.2, 1.4, -0.3), 0.5)))
    store.close()
    assert refusal().startswith("polyseme: --task: expected the model that the task was learned on, ")
    tasks.write_bytes(b"no database" * 1000)
    assert refusal().startswith(f"polyseme: task store {tasks}: ")
    assert not out.exists()


def test_an_output_that_takes_nothing_is_one_line(bundle: Bundle, corpus: Path) -> None:
    command = [sys.executable, "-m", "service", "embed", str(corpus), str(corpus.with_name("out")), "--json"]
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*command, "--bundle", str(bundle.folder)],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert run.returncode == 2
    assert run.stderr.splitlines()[1:] == ["polyseme: No space left on device"]


def test_int8_is_what_the_service_would_give(corpus: Path, tmp_path: Path) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny8", with_int8=True)
    flags = ["--bundle", str(tiny.folder), "--threads", "3"]
    for precision in ("float32", "int8"):
        out = str(tmp_path / precision)
        assert main(["embed", str(corpus), out, "--precision", precision, *flags]) == 0
    difference = np.abs(np.array(vectors(tmp_path / "int8")) - np.array(vectors(tmp_path / "float32"))).max()
    assert 1e-5 < difference < 0.2


def test_words_between_white_space(embed: Embed, corpus: Path, reference: Reference) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out, "--pretokenized", "--pool", "word") == 0
    table = pq.read_table(out)
    assert [word["text"] for word in table["words"][1].as_py()] == ["강에서", "배를", "탔다"]
    tokens = table["tokens"][0].as_py()
    assert {token["word"] for token in tokens} == {0, 1, 2, 3, 4}
    words = ["The", "bank", "of", "the", "river"]
    assert len(vectors(out)) == 5
    of_bank = [i for i, token in enumerate(tokens) if token["word"] == 1]
    expected = reference.average(words)[of_bank].mean(axis=0)
    np.testing.assert_allclose(vectors(out)[1], expected, rtol=0, atol=1e-5)


LAYERS = 'expected "top", "average", "all" or a layer from 0 to 2'
ENDINGS = "expected a name that ends with .txt, .tsv, .jsonl, .conllu or .parquet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("none.txt out", "none.txt: No such file or directory"),
        ("- out", "--input-format: expected it beside standard input, got none"),
        ("corpus.bin out", f"corpus.bin: {ENDINGS}, got '.bin': --input-format says what it is"),
        ("corpus.txt out --layer 3", f"--layer: {LAYERS}, got the number 3"),
        ("corpus.txt out --layer " + "1" * 5000, f"--layer: {LAYERS}, got a string of 5000 characters"),
        (
            "corpus.txt out --column body",
            "--column: expected inputs with columns, got corpus.txt, which is text",
        ),
        ("corpus.txt out --layer best", f'--layer: {LAYERS}, got the string "best"'),
        ("corpus.txt out --ray-address auto", "--ray-address: expected --engine ray beside it, got none"),
        ("corpus.txt out --engine ray --ray-workers 0", "--ray-workers: expected at least 1, got 0"),
        ("corpus.txt out --forget-sentences", "--forget-sentences: expected --format hdf5, got parquet"),
        ("corpus.txt out --shard-characters 0", "--shard-characters: expected at least 1, got 0"),
        (
            "corpus.txt out --max-characters x",
            "--max-characters: expected a whole number of at least 1, got 'x'",
        ),
        ("empty.txt out", "INPUT: expected at least one row, got none"),
        ("corpus.txt . --format hdf5", ".: expected the name of a file, got a folder's"),
    ],
)
def test_refusals_are_one_line(
    embed: Embed,
    corpus: Path,
    arguments: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(corpus.parent)
    Path("corpus.bin").touch()
    Path("empty.txt").touch()
    assert embed(*arguments.split()) == 2
    assert capsys.readouterr().err == f"polyseme: {message}\n"
    assert not Path("out").exists()


def test_what_an_extra_brings_is_asked_for_by_its_name() -> None:
    with pytest.raises(Refusal) as refused:
        need("bulk", "pyarrow", "no_such_module")
    assert str(refused.value) == "this needs no_such_module: pip install 'polyseme[bulk]'"


def test_help_names_every_form_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["embed", "--help"])
    page = capsys.readouterr().out
    for word in (
        ".txt",
        ".tsv",
        ".jsonl",
        ".conllu",
        ".parquet",
        ".npz",
        ".hdf5",
        "Exit status",
        "--ray-address",
    ):
        assert word in page

"""A run that ends early, and the one after it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.bundle import Bundle
from tests.patience import PATIENCE_S
from tests.service.bulk.conftest import Embed
from tests.service.processes import ROOT

NUM_SHARDS = 150


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"number {i} of them\n" for i in range(NUM_SHARDS)), encoding="utf-8")
    return path


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("part-*")}


def interrupted(bundle: Bundle, corpus: Path, out: Path, with_signal: signal.Signals) -> tuple[int, str]:
    """Start the command, send it a signal when its first file is there, and return its status and log."""
    command = [sys.executable, "-m", "service", "embed", str(corpus), str(out), "--shard-characters", "1"]
    command += ["--bundle", str(bundle.folder), "--threads", "3"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not files_of(out):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(with_signal)
        _, log = process.communicate(timeout=PATIENCE_S)
    return process.returncode, log


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_stopped_goes_on_to_the_same_bytes(
    embed: Embed,
    bundle: Bundle,
    corpus: Path,
    with_signal: signal.Signals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, stopped = corpus.with_name("whole"), corpus.with_name("stopped")
    assert embed(corpus, whole, "--shard-characters", 1) == 0
    status, log = interrupted(bundle, corpus, stopped, with_signal)
    before = files_of(stopped)
    assert 0 < len(before) < NUM_SHARDS
    if with_signal != signal.SIGKILL:
        assert status == 130, log
        assert log.splitlines()[-1] == (
            f"polyseme: stopped; {len(before)} of {NUM_SHARDS} files are finished, and the same command "
            "goes on with the others"
        )
    (stopped / ".part-000149.parquet.0123.partial").write_bytes(b"half")  # as a kill leaves it
    capsys.readouterr()
    assert embed(corpus, stopped, "--shard-characters", 1, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["rows"], summary["files"], summary["files_made"]) == (
        NUM_SHARDS, NUM_SHARDS, NUM_SHARDS - len(before),
    )  # fmt: skip
    assert files_of(stopped) == files_of(whole)
    assert not list(stopped.glob(".*.partial"))


def test_a_finished_run_does_nothing_and_tells_its_bad_rows_again(
    embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus.write_bytes(b"good\n\xff\n\xe2\x80\x8b\nlast\n")
    out = corpus.with_name("out")
    assert embed(corpus, out, "--shard-characters", 5) == 3
    first = capsys.readouterr().err
    written = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert embed(corpus, out, "--shard-characters", 5, "--json") == 3
    again = capsys.readouterr()
    told = [
        f"{corpus}:2: expected UTF-8, got byte 0xff at byte 1",
        f"{corpus}:3: expected text, got only characters that the tokenizer drops",
    ]
    assert [line for line in first.splitlines() if line.startswith(str(corpus))] == told
    assert again.err.splitlines() == told
    summary = json.loads(again.out)
    assert (summary["rows"], summary["embedded"], summary["bad"], summary["files_made"]) == (4, 2, 2, 0)
    assert {path: path.stat().st_mtime_ns for path in out.glob("part-*")} == written
    listed = [json.loads(line) for line in Path(summary["bad_rows"]).read_text(encoding="utf-8").splitlines()]
    assert [(bad["file"], bad["line"]) for bad in listed] == [(str(corpus), 2), (str(corpus), 3)]


def test_a_file_that_was_damaged_is_made_again(embed: Embed, corpus: Path) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out) == 0
    (whole,) = files_of(out).values()
    (path,) = out.glob("part-*")
    path.write_bytes(whole[:-100])
    assert embed(corpus, out) == 0
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layer", "top"], '--layer null, not "top"'),
        (["--pool", "sentence"], '--pool "token", not "sentence"'),
        (["--dtype", "float16"], '--dtype "float32", not "float16"'),
        (["--format", "npz"], '--format "parquet", not "npz"'),
        (["--shard-characters", "77"], "--shard-characters 131072, not 77"),
    ],
)
def test_other_options_are_refused(
    embed: Embed, corpus: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out) == 0
    before = files_of(out)
    capsys.readouterr()
    assert embed(corpus, out, *flags) == 2
    assert capsys.readouterr().err == (
        f"polyseme: {out}: expected a run of the same inputs and options, got one with {message}: "
        "choose another OUT, or remove this one\n"
    )
    assert files_of(out) == before


def test_another_input_is_refused(embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = corpus.with_name("out")
    assert embed(corpus, out) == 0
    corpus.write_text("something else\n", encoding="utf-8")
    capsys.readouterr()
    assert embed(corpus, out) == 2
    assert "got one with another INPUT" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["notes.txt", "photos", "vectors.hdf5"])
def test_what_is_somebody_elses_is_left_alone(
    embed: Embed, corpus: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = corpus.with_name(out)
    if out == "photos":
        foreign.mkdir()
        (foreign / "a.jpg").write_bytes(b"x")
    else:
        foreign.write_bytes(b"x")
    assert embed(corpus, foreign) == 2
    assert capsys.readouterr().err.startswith(f"polyseme: {foreign}: expected ")
    assert sorted(os.listdir(corpus.parent)) == sorted([corpus.name, out])


def test_a_run_beside_another_is_refused(
    embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import fcntl

    out = corpus.with_name("out")
    assert embed(corpus, out) == 0
    with (out / "_lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        capsys.readouterr()
        assert embed(corpus, out) == 2
    assert "expected nobody to write there, but another run does" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["out", "out.npz", "out.hdf5"])
def test_a_full_disk_leaves_no_half_file(
    embed: Embed, corpus: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit of a file's size fails as a full disk does, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        status = embed(corpus, corpus.with_name(out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith("polyseme: ")
    assert "too large" in line
    assert not list(corpus.parent.rglob("*part-*"))
    assert embed(corpus, corpus.with_name(out)) == 0

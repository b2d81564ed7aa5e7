"""`polyseme inspect`: what a bundle is, and the one line for a damaged one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.bundle import Bundle, write_bundle
from service.command_line import main
from service.settings import SHIPPED_BUNDLE
from tests.model.imports.imported import imported_allennlp
from tests.service.tiny_bundle import write_tiny_bundle


def inspected(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["inspect", str(folder), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_shipped_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    about = inspected(SHIPPED_BUNDLE, capsys)
    manifest = Bundle.open(SHIPPED_BUNDLE).manifest
    assert about["name"] == manifest.name == "enko"
    assert about["languages"] == ["en", "ko"]
    assert about["layers"] == ["token_embedding", "lstm_1", "lstm_2"]
    assert about["dimension"] == manifest.architecture.dimension
    assert about["parameters"] == manifest.training["parameters"]
    assert about["precisions"] == ["float32", "int8"]
    assert about["has_softmax"] is True
    card = (SHIPPED_BUNDLE / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"tokens seen: {about['tokens_seen']:,}" in card
    assert [f"- {line}\n" in card for line in about["corpora"]] == [True] * len(about["corpora"])
    assert card.partition("## Limits\n\n")[2] == "".join(f"- {line}\n" for line in about["limits"])
    for base in about["bases"]:
        assert base["sha256"] in card
    assert about["heldout_perplexity"] == manifest.training["heldout_perplexity"]


def test_every_file_is_listed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    about = inspected(SHIPPED_BUNDLE, capsys)
    expected = []
    for path in sorted(SHIPPED_BUNDLE.iterdir()):
        data = path.read_bytes()
        expected.append({"name": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    assert about["files"] == expected
    assert about["bytes"] == sum(path.stat().st_size for path in SHIPPED_BUNDLE.iterdir())
    assert about["sha256"] == hashlib.sha256((SHIPPED_BUNDLE / "manifest.json").read_bytes()).hexdigest()


def test_people_read_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a folder: that of the variable, which is checked as any setting."""
    about = inspected(SHIPPED_BUNDLE, capsys)
    monkeypatch.setenv("POLYSEME_BUNDLE", str(SHIPPED_BUNDLE))
    assert main(["inspect"]) == 0
    page = capsys.readouterr().out.splitlines()
    assert page[0] == "enko"
    assert f"  fingerprint sha256 {about['sha256']}, of manifest.json" in page
    assert f"  parameters  {about['parameters']:,} in float16" in page
    assert "  layers      3 of 1,024 values: token_embedding, lstm_1, lstm_2" in page
    assert f"              {about['corpora'][1]}" in page
    assert f"  limits      {about['limits'][0]}" in page
    assert page[-1] == f"{about['bytes'] / 1e6:.1f} MB in 9 files, every one as manifest.json has it"
    for file in about["files"]:
        (row,) = (line for line in page if line.startswith(f"{file['name']} "))
        assert row.split()[1:] == [f"{file['bytes']:,}", file["sha256"][:16]]


def test_an_imported_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = imported_allennlp(tmp_path / "elmo").folder
    about = inspected(folder, capsys)
    assert (about["has_softmax"], about["vocabulary_size"], about["corpora"]) == (False, None, [])
    assert main(["inspect", str(folder)]) == 0
    page = capsys.readouterr().out
    assert "  reads       words, " in page
    assert "  gives       vectors (no softmax: no score, no cloze)\n" in page
    assert "  trained on  not stated\n" in page


@pytest.mark.parametrize(
    "record",
    [
        {"base": 3, "corpora": "text", "tokens_seen": "many", "heldout_perplexity": [1]},
        {"base": {"name": None, "training": []}, "corpora": [1, None], "heldout_perplexity": {"en": 3}},
        {"heldout_perplexity": {"en": {"forward": 3, "backward": {"token": None}}}},
        {"heldout_perplexity": {"en": {"forward": {"token": 10**400}}}},
    ],
)
def test_a_training_record_of_another_hand(
    record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    files: dict[str, bytes | Path] = {name: tiny.folder / name for name in tiny.manifest.files}
    write_bundle(tmp_path / "other", replace(tiny.manifest, training=record, files={}), files)
    assert inspected(tmp_path / "other", capsys)["corpora"] == []
    assert main(["inspect", str(tmp_path / "other")]) == 0


def test_a_damaged_bundle_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tiny_bundle(tmp_path / "tiny").folder
    weights = folder / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert refused(folder, capsys).startswith(f"{weights}: expected sha256 ")
    for path in (weights, folder / "manifest.json"):
        path.unlink()
        assert refused(folder, capsys) == f"{path}: expected a file, found none"


def test_nothing_in_a_bundle_commands_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    files: dict[str, bytes | Path] = {name: tiny.folder / name for name in tiny.manifest.files}
    record = {"corpora": ["\x1b[2J"], "heldout_perplexity": {"\x9b2J": {"\r": {"token": 2.0}}}}
    hostile = replace(
        tiny.manifest, name="a\nb", licence="\x1b[31mMIT", languages=["\x07"], training=record, files={}
    )
    folder = write_bundle(tmp_path / "other", hostile, files).folder
    assert main(["inspect", str(folder)]) == 0
    page = capsys.readouterr().out
    assert set(page) & set("\x1b\x9b\x07\r") == set()
    assert page.splitlines()[0] == "a�b"
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "\x1b[2J\n": 1}))
    assert refused(folder, capsys) == f"{manifest}: expected no field �[2J�, found one"


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["inspect", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("polyseme: ")
    return line.removeprefix("polyseme: ")


def test_one_bundle_at_a_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSEME_BUNDLE", "a:b")
    assert main(["inspect"]) == 2
    expected = "polyseme: POLYSEME_BUNDLE: expected one folder, got 2; name the one to inspect\n"
    assert capsys.readouterr().err == expected

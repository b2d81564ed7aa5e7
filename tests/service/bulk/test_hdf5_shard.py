"""HDF5 as AllenNLP's `elmo` command wrote it, read as its users read it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.service.bulk.conftest import Embed
from tests.service.bulk.reference import Reference

SENTENCES = ["The bank of the river .", "강에서 배를 탔다", "a", "The bank of the river ."]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("\n".join(SENTENCES), encoding="utf-8")
    return path


def of_words(reference: Reference, sentence: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return (L, T, D): the means of the words' pieces."""
    words = sentence.split()
    tokenized = reference.tokenize(words)
    of_piece = np.array(tokenized.words)[tokenized.visible]
    layers = reference.layers(words)
    return np.stack([layers[:, of_piece == i].mean(axis=1) for i in range(len(words))], axis=1)


@pytest.mark.parametrize("layer", ["all", "top", "average"])
def test_the_layout(embed: Embed, corpus: Path, layer: str, reference: Reference) -> None:
    out = corpus.with_name("vectors.hdf5")
    assert embed(corpus, out, "--layer", layer, "--shard-characters", 30) == 0
    with h5py.File(out) as file:
        assert sorted(file) == ["0", "1", "2", "3", "sentence_to_index"]
        index = json.loads(file["sentence_to_index"][0])
        assert index == {"The bank of the river .": "3", "강에서 배를 탔다": "1", "a": "2"}
        for i, sentence in enumerate(SENTENCES):
            expected = of_words(reference, sentence)
            wanted = {"all": expected, "top": expected[-1], "average": expected.mean(axis=0)}[layer]
            assert file[str(i)].dtype == np.float32
            np.testing.assert_allclose(file[str(i)][...], wanted, rtol=0, atol=1e-5)
    assert [path.name for path in corpus.parent.iterdir() if path != corpus] == [out.name]


def test_a_name_that_is_not_utf8(embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = corpus.with_name("\udcff.hdf5")
    for made in (1, 0):
        assert embed(corpus, out, "--json") == 0
        summary = json.loads(capsys.readouterr().out)
        assert (summary["out"], summary["files_made"]) == (str(out), made)


def test_a_row_that_is_bad_keeps_its_number(embed: Embed, corpus: Path) -> None:
    corpus.write_text("eins\n\nzwei\n", encoding="utf-8")
    out = corpus.with_name("vectors.h5")
    assert embed(corpus, out, "--forget-sentences") == 3
    with h5py.File(out) as file:
        assert sorted(file) == ["0", "2"]
    (bad,) = corpus.with_name("vectors.h5.bad_rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(bad)["line"] == 2


def test_a_file_that_is_whole_is_left_alone(
    embed: Embed, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = corpus.with_name("vectors.hdf5")
    assert embed(corpus, out) == 0
    written = out.read_bytes()
    assert embed(corpus, out) == 0
    assert "nothing was left to do" in capsys.readouterr().err
    assert embed(corpus, out, "--layer", "top") == 2
    assert "expected the vectors of the same inputs and options" in capsys.readouterr().err
    assert out.read_bytes() == written
    foreign = corpus.with_name("foreign.hdf5")
    with h5py.File(foreign, "w") as file:
        file["0"] = [1]
    assert embed(corpus, foreign) == 2
    assert "expected a name that is free" in capsys.readouterr().err

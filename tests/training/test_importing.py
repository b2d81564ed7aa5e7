"""A checkpoint becomes a bundle: what it holds, what rounding moves, and what the command says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from model.bundle import Bundle
from model.imports.allennlp import read_allennlp
from tests.golden.parity_fixtures import PARITY, allennlp_fixture, manylangs_fixture
from tests.model.imports.imported import imported_allennlp, imported_manylangs, write
from tests.model.imports.random_checkpoints import random_allennlp
from training import pipeline
from training.__main__ import main
from training.config import Config
from training.importing import SENTENCES, changes, layers, write_checkpoint
from training.probes.bundle import probe_bundle
from training.workspace import Workspace

DATA = Path(__file__).resolve().parent.parent / "data"
ALLENNLP = [str(path) for path in allennlp_fixture().arguments]


def test_a_whole_bundle(tmp_path: Path) -> None:
    """The command's own, from what it is told."""
    out = tmp_path / "elmo"
    options = ["--name", "small", "--language", "en", "--language", "ko", "--licence", "Apache-2.0"]
    assert main(["import", "allennlp", *ALLENNLP, str(out), *options]) == 0
    manifest = Bundle.open(out).manifest
    assert (manifest.name, manifest.languages, manifest.licence) == ("small", ["en", "ko"], "Apache-2.0")
    assert (manifest.tokenizer, manifest.weights_dtype, manifest.rounding) == ("words", "float32", {})
    assert manifest.layer_names == ["token_embedding", "lstm_1", "lstm_2"]
    assert manifest.format_version == 1
    assert manifest.files.keys() == {
        "characters.json",
        "weights.safetensors",
        "token_encoder.onnx",
        "context_encoder.onnx",
        "MODEL_CARD.md",
    }
    assert manifest.training["imported_from"] == "bilm-tf"
    stored = load_file(out / "weights.safetensors")
    for name, tensor in read_allennlp(*allennlp_fixture().arguments).tensors.items():
        np.testing.assert_array_equal(stored[name], tensor)


def test_what_nobody_says_is_unknown(tmp_path: Path) -> None:
    (folder,) = manylangs_fixture().arguments
    assert main(["import", "manylangs", str(folder), str(tmp_path / "many")]) == 0
    manifest = Bundle.open(tmp_path / "many").manifest
    assert (manifest.name, manifest.languages, manifest.licence) == ("many", [], "unknown")
    words = (tmp_path / "many" / "words.txt").read_text(encoding="utf-8").split("\n")
    assert words[:5] == ["<oov>", "<bos>", "<eos>", "<pad>", "bank"]
    assert manifest.training["imported_from"] == "ELMoForManyLangs"


def test_the_card(tmp_path: Path) -> None:
    card = (imported_allennlp(tmp_path / "bytes").folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.startswith("# bytes\n")
    assert "Languages: not stated. Licence of the weights: unknown." in card
    assert "LSTM(12) projected to 8" in card
    assert "reads the first 7 bytes of UTF-8" in card
    assert "They are those of the files." in card
    assert re.search(r"^- weights\.hdf5: sha256\n  [0-9a-f]{64}$", card, re.MULTILINE)
    card = (imported_manylangs(tmp_path / "words").folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "reads the first 7 characters" in card
    assert "9 words have a vector of their own" in card
    assert max(map(len, card.splitlines())) <= 110


def test_float16_halves_the_weights_and_says_what_it_moves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact, rounded = tmp_path / "exact", tmp_path / "rounded"
    assert main(["import", "allennlp", *ALLENNLP, str(exact)]) == 0
    assert main(["import", "allennlp", *ALLENNLP, str(rounded), "--dtype", "float16"]) == 0
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (exact, rounded)]
    assert 0.5 < sizes[1] / sizes[0] < 0.51
    bundle = Bundle.open(rounded)
    found = bundle.manifest.rounding
    assert found.keys() == {
        "relative_error_token_embedding",
        "relative_error_lstm_1",
        "relative_error_lstm_2",
        "largest_change",
    }
    before, after = layers(Bundle.open(exact), SENTENCES), layers(bundle, SENTENCES)
    largest = max(float(np.abs(one - other).max()) for one, other in zip(before, after, strict=True))
    assert found["largest_change"] == pytest.approx(largest)
    top = [np.concatenate([each[2].ravel() for each in all_layers]) for all_layers in (before, after)]
    share = np.linalg.norm(top[1] - top[0]) / np.linalg.norm(top[0])
    assert found["relative_error_lstm_2"] == pytest.approx(share, rel=1e-5)
    assert 1e-5 < share < 1e-2
    assert f"relative error lstm 2: {share:.2g}" in capsys.readouterr().out
    assert f"- relative error lstm 2: {share:.2g}" in (rounded / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exact", "rounded"]


def test_the_change_is_measured_on_the_sentences_given(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The bank of the river.\n\n강에서 배를 탔다.\n", encoding="utf-8")
    out = tmp_path / "rounded"
    command = ["import", "allennlp", *ALLENNLP, str(out), "--dtype", "float16", "--sentences", str(text)]
    assert main(command) == 0
    exact = write(read_allennlp(*allennlp_fixture().arguments), tmp_path / "exact")
    sentences = ["The bank of the river.", "강에서 배를 탔다."]
    rounded = Bundle.open(out)
    assert rounded.manifest.rounding == pytest.approx(changes(exact, rounded, sentences))


def test_an_older_bundle_is_replaced_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for name in ("first", "second"):
        assert main(["import", "allennlp", *ALLENNLP, str(out), "--name", name]) == 0
        assert Bundle.open(out).manifest.name == name
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("ten years", encoding="utf-8")
    assert main(["import", "allennlp", *ALLENNLP, str(tmp_path / "papers")]) == 2
    assert "expected a new or empty folder or a bundle, found other files" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["allennlp", ALLENNLP[0], "nowhere.hdf5", "OUT"], "nowhere.hdf5: expected a file, found none"),
        (["allennlp", "nowhere.json", ALLENNLP[1], "OUT"], "nowhere.json: expected a readable file, found: "),
        (["manylangs", "nowhere", "OUT"], "config.json: expected a readable file, found: "),
        (["allennlp", *ALLENNLP, "OUT", "--name", "a/b"], "--name: expected a plain name, got 'a/b'"),
        (["allennlp", *ALLENNLP, "OUT", "--name", ".."], "--name: expected a plain name, got '..'"),
        (["allennlp", *ALLENNLP, "OUT", "--name", ""], "--name: expected a plain name, got ''"),
        (
            ["allennlp", *ALLENNLP, "OUT", "--sentences", ALLENNLP[1]],
            "expected UTF-8, found byte 0 to be none",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    command = ["import", *(str(tmp_path / "out") if each == "OUT" else each for each in arguments)]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("polyseme-train: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_text_without_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    command = ["import", "allennlp", *ALLENNLP, str(tmp_path / "out"), "--sentences", str(path)]
    assert main(command) == 2
    assert "text.txt: expected a sentence a line, found none" in capsys.readouterr().err


def test_weights_that_float16_cannot_hold(tmp_path: Path) -> None:
    source = random_allennlp()
    source.arrays["char_embed"][7, 2] = 1e5
    checkpoint = read_allennlp(*source.write(tmp_path / "source"))
    with pytest.raises(
        ValueError, match=r"^tensor char_cnn\.character_embedding\.weight: holds a value that "
    ):
        write(checkpoint, tmp_path / "out", "float16")
    write(checkpoint, tmp_path / "out")


def test_a_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    source = random_allennlp(num_highways=None, clips=(None, None))
    for name in ("CNN/W_cnn_0", "CNN_proj/W_proj"):
        source.arrays[name][:] = 3e38
    checkpoint = read_allennlp(*source.write(tmp_path / "source"))
    with pytest.raises(ValueError, match="expected vectors of finite numbers, found others"):
        write(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_rounding_moves_of_a_network_that_gives_zeros_alone(tmp_path: Path) -> None:
    source = random_allennlp()
    for array in source.arrays.values():
        array[:] = 0
    bundle = write(read_allennlp(*source.write(tmp_path / "source")), tmp_path / "out", "float16")
    assert set(bundle.manifest.rounding.values()) == {0.0}


def test_sentences_without_a_word(tmp_path: Path) -> None:
    checkpoint = read_allennlp(*allennlp_fixture().arguments)
    with pytest.raises(ValueError, match=r"^sentences: expected at least one with a word, found none$"):
        write_checkpoint(
            checkpoint, tmp_path / "out", name="x", languages=[], licence="", dtype="float32", sentences=[" "]
        )


def test_it_is_not_trained_further_nor_measured_as_a_language_model(tiny: Config, tmp_path: Path) -> None:
    """It reads words that nobody has numbered, and our loop predicts pieces."""
    folder = imported_allennlp(tmp_path / "elmo").folder
    refused = pytest.raises(
        ValueError, match=rf"^{re.escape(str(folder))}: expected a model with a softmax, "
    )
    with refused:
        pipeline.train(tiny, Workspace(tmp_path / "run"), resume=False, init_from=folder)
    assert not (tmp_path / "run").exists()
    with refused:
        pipeline.evaluate(folder, {"en": [DATA / "corpus.en.txt"]})
    with refused:
        probe_bundle(folder, DATA, tmp_path / "report")


def test_the_fixtures_carry_their_licences() -> None:
    for name in ("allennlp", "bilm_tf"):
        assert "Apache License" in (PARITY / name / "LICENSE").read_text(encoding="utf-8")

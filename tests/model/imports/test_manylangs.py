"""A folder of ELMoForManyLangs: what is read of it, and how each mistake is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.elmo_characters import CodePointRows
from model.imports.checkpoint import Checkpoint, CheckpointError
from model.imports.manylangs import read_manylangs
from tests.golden.parity_fixtures import manylangs_fixture
from tests.model.imports.random_checkpoints import (
    CHARACTERS,
    WORDS,
    ManyLangs,
    random_manylangs,
    save_legacy,
)


def read(source: ManyLangs, folder: Path) -> Checkpoint:
    return read_manylangs(source.write(folder))


def assert_refused(folder: Path, file: str, message: str) -> None:
    """message: a regular expression of what follows the file's path."""
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(folder / file))}: {message}"):
        read_manylangs(folder)


def test_the_published_shape_is_read() -> None:
    checkpoint = read_manylangs(*manylangs_fixture().arguments)
    architecture = checkpoint.architecture
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    assert shapes == architecture.tensor_shapes()
    assert (architecture.word_dim, architecture.word_vocabulary_size) == (10, 59)
    assert isinstance(checkpoint.rows, CodePointRows)
    assert checkpoint.rows.num_characters == architecture.num_characters
    assert "\u3000" in checkpoint.rows.characters
    assert checkpoint.words is not None
    assert checkpoint.record["sources"].keys() == {
        "char.dic", "word.dic", "token_embedder.pkl", "encoder.pkl", "cnn_8_10_16_40_sample.json",
    }  # fmt: skip


def test_weights_become_ours(tmp_path: Path) -> None:
    """The gate of a highway weighs what comes in, where ours weighs what was transformed."""
    source = random_manylangs()
    tensors = read(source, tmp_path).tensors
    transform, gate = np.split(source.embedder["highways._layers.0.weight"], 2)
    np.testing.assert_array_equal(tensors["char_cnn.highways.0.transform.weight"], transform)
    np.testing.assert_array_equal(tensors["char_cnn.highways.0.gate.weight"], -gate)
    np.testing.assert_array_equal(
        tensors["char_cnn.character_embedding.weight"][1:], source.embedder["char_emb_layer.embedding.weight"]
    )
    assert not tensors["char_cnn.character_embedding.weight"][0].any()
    layer, path = "backward_layers.1", "backward_layer_1"
    for ours, theirs in (
        ("weight_ih_l0", "input_linearity.weight"),
        ("weight_hh_l0", "state_linearity.weight"),
        ("bias_ih_l0", "state_linearity.bias"),
        ("weight_hr_l0", "state_projection.weight"),
    ):
        np.testing.assert_array_equal(tensors[f"{layer}.{ours}"], source.encoder[f"{path}.{theirs}"])
    assert not tensors[f"{layer}.bias_hh_l0"].any()


def test_a_model_without_a_word_part_reads_no_words(tmp_path: Path) -> None:
    folder = random_manylangs(word_dim=0).write(tmp_path)
    (folder / "word.dic").write_bytes(b"\xff no dictionary")
    checkpoint = read_manylangs(folder)
    assert checkpoint.words is None
    assert (checkpoint.architecture.word_dim, checkpoint.architecture.word_vocabulary_size) == (0, 0)


def test_a_line_of_one_field_is_the_ideographic_space(tmp_path: Path) -> None:
    """The program strips the line first; so a no-break space cannot be listed either."""
    checkpoint = read(random_manylangs(), tmp_path)
    assert isinstance(checkpoint.rows, CodePointRows)
    assert checkpoint.rows.characters[: len(CHARACTERS)] == CHARACTERS
    text = (tmp_path / "char.dic").read_text(encoding="utf-8")
    (tmp_path / "char.dic").write_text(text.replace("é\t", "\u00a0\t"), encoding="utf-8")
    assert_refused(tmp_path, "char.dic", "characters: expected each once, found '\\\\u3000' again$")


@pytest.mark.parametrize(
    "config_path", ["small.json", "/users/somebody/elmo/configs/small.json", r"C:\elmo\small.json"]
)
def test_the_configuration_is_found_by_its_base_name(tmp_path: Path, config_path: str) -> None:
    source = replace(random_manylangs(activation="tanh"), config_path=config_path)
    assert read(source, tmp_path).architecture.activation == "tanh"


def test_the_usual_configuration_need_not_be_there(tmp_path: Path) -> None:
    """The published folders do not have it; a small model is told from it by its shapes."""
    usual = "configs/cnn_50_100_512_4096_sample.json"
    folder = replace(random_manylangs(), config_path=usual).write(tmp_path)
    (folder / "cnn_50_100_512_4096_sample.json").unlink()
    message = r"char_emb_layer\.embedding\.weight: expected float32 \(15, 50\), found float32 \(15, 4\)$"
    arrays = random_manylangs(filters=tuple((width, 1) for width in range(1, 8)), num_highways=2).embedder
    save_legacy(folder / "token_embedder.pkl", arrays)
    assert_refused(folder, "token_embedder.pkl", message)


def test_another_configuration_must_be_there(tmp_path: Path) -> None:
    folder = random_manylangs().write(tmp_path)
    (folder / "small.json").unlink()
    message = "config_path: expected cnn_50_100_512_4096_sample.json or a file of this name in the folder, "
    assert_refused(folder, "config.json", f"{message}found 'small.json'$")


@pytest.mark.parametrize(("name", "shown"), [("a" * 3000, "'a{99}$"), ("a\0b", r"'a\\x00b'$"), ("", "''$")])
def test_a_configuration_that_no_file_can_be(tmp_path: Path, name: str, shown: str) -> None:
    folder = random_manylangs().write(tmp_path)
    (folder / "config.json").write_text(json.dumps({"config_path": name}), encoding="utf-8")
    assert_refused(
        folder, "config.json", f"config_path: expected .* a file of this name in the folder, found {shown}"
    )


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("encoder", "name", "lstm", r"encoder\.name: expected \"elmo\", found 'lstm'$"),
        ("token_embedder", "name", "lstm", r"token_embedder\.name: expected \"cnn\", found 'lstm'$"),
        (
            "token_embedder",
            "char_dim",
            0,
            r"token_embedder\.char_dim: expected an integer from 1 to 100000, got 0$",
        ),
        (
            "token_embedder",
            "max_characters_per_token",
            2,
            r"token_embedder\.max_characters_per_token: expected an integer from 3 to 100000, got 2$",
        ),
        ("token_embedder", "word_dim", 6.0, r"token_embedder\.word_dim: expected an integer, got 6\.0$"),
        ("token_embedder", "activation", "elu", r"token_embedder\.activation: expected "),
        ("encoder", "peephole", True, r"encoder\.peephole: expected one of name, .*, found another option$"),
    ],
)
def test_a_wrong_option(tmp_path: Path, section: str, field: str, value: object, message: str) -> None:
    source = random_manylangs()
    source.config[section][field] = value
    source.write(tmp_path)
    assert_refused(tmp_path, "small.json", message)


def test_a_missing_option(tmp_path: Path) -> None:
    source = random_manylangs()
    del source.config["encoder"]["dim"]
    source.write(tmp_path)
    assert_refused(tmp_path, "small.json", r"encoder\.dim: expected a value, found none$")


@pytest.mark.parametrize("name", ["char.dic", "word.dic"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "x\n", r"line \d+: expected TOKEN<tab>ID, found 'x'$"),
        (lambda text: text + "x\ty\t99\n", r"line \d+: expected TOKEN<tab>ID, found 'x\\ty\\t99'$"),
        (lambda text: text + "x\t-1\n", r"line \d+: expected TOKEN<tab>ID, found 'x\\t-1'$"),
        (lambda text: text + f"x\t{'9' * 5000}\n", r"line \d+: expected TOKEN<tab>ID, found 'x\\t9{96}$"),
        (lambda text: text + "\n", r"line \d+: expected TOKEN<tab>ID, found ''$"),
        (lambda text: "", "expected lines of TOKEN<tab>ID, found none$"),
        (lambda text: text + "x\t0\n", r"line \d+: expected each id once, found 0 again$"),
        (lambda text: text + "x\t77\n", r"expected \d+ ids from 0 to \d+, found 77$"),
        (lambda text: text.replace("<eos>", "x"), r"\w+: expected <.*> among them, found no <eos>$"),
        (lambda text: text.replace("<pad>", "<eos>"), r"\w+: expected <.*> among them, found no <pad>$"),
    ],
)
def test_a_damaged_dictionary(tmp_path: Path, name: str, change: Callable[[str], str], message: str) -> None:
    folder = random_manylangs().write(tmp_path)
    path = folder / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert_refused(folder, name, message)


def test_dictionaries_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    folder = random_manylangs().write(tmp_path)
    (folder / "word.dic").write_bytes(b"\xff\xfe")
    assert_refused(folder, "word.dic", "expected UTF-8, found byte 0 to be none$")
    (folder / "word.dic").unlink()
    assert_refused(folder, "word.dic", "expected a readable file, found: No such file or directory$")


def test_more_words_than_vectors(tmp_path: Path) -> None:
    replace(random_manylangs(), words=[*WORDS, "more"]).write(tmp_path)
    message = r"word_emb_layer\.embedding\.weight: expected float32 \(10, 6\), found float32 \(9, 6\)$"
    assert_refused(tmp_path, "token_embedder.pkl", message)


@pytest.mark.parametrize(
    ("file", "name"),
    [("token_embedder.pkl", "projection.bias"), ("encoder.pkl", "backward_layer_0.state_projection.weight")],
)
def test_a_missing_tensor_or_one_too_many(tmp_path: Path, file: str, name: str) -> None:
    source = random_manylangs()
    arrays = source.embedder if name in source.embedder else source.encoder
    arrays["more.weight"] = np.zeros(2, dtype=np.float32)
    source.write(tmp_path)
    assert_refused(tmp_path, file, "more.weight: expected no tensor of this name, found one$")
    del arrays["more.weight"], arrays[name]
    source.write(tmp_path)
    assert_refused(tmp_path, file, f"{re.escape(name)}: expected a tensor of this name, found none$")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros((8, 8), np.float32), r"expected float32 \(8,\), found float32 \(8, 8\)$"),
        (np.zeros(8, np.float64), r"expected float32 \(8,\), found float64 \(8,\)$"),
        (np.full(8, np.nan, np.float32), "expected finite values, found nan$"),
    ],
)
def test_a_wrong_tensor(tmp_path: Path, value: Any, message: str) -> None:
    source = random_manylangs()
    source.embedder["projection.bias"] = value
    source.write(tmp_path)
    assert_refused(tmp_path, "token_embedder.pkl", rf"projection\.bias: {message}")


def test_a_configuration_that_is_no_json(tmp_path: Path) -> None:
    folder = random_manylangs().write(tmp_path)
    (folder / "config.json").write_text(json.dumps([1]), encoding="utf-8")
    assert_refused(folder, "config.json", r"the file: expected an object, found \[1\]$")
    (folder / "config.json").unlink()
    assert_refused(folder, "config.json", "expected a readable file, found: No such file or directory$")

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from model.bundle import Bundle, BundleError, write_bundle
from tests.model.plain_network import random_tensors
from tests.model.small_bundles import NOT_PLAIN_NAMES, architecture, bundle_files, contents, manifest

SMALL = architecture()
MANIFEST = manifest(SMALL)
TENSORS = random_tensors(SMALL)
FILES = bundle_files(SMALL, TENSORS)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Not to be changed: tests that damage a bundle copy this one."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "small", MANIFEST, FILES)


@pytest.fixture
def folder(written: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written.folder, tmp_path / "small"))


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def replace_file(folder: Path, name: str, content: bytes) -> None:
    """With a hash that is right: such a file was written so."""
    (folder / name).write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    edit_manifest(folder, lambda document: document["files"].update({name: sha256}))


def assert_refused(folder: Path, file: str, message: str) -> None:
    """The error names the file; message: a regular expression of the rest."""
    with pytest.raises(BundleError, match=f"^{re.escape(str(folder / file))}: {message}"):
        Bundle.open(folder)


def test_what_is_written_is_read(written: Bundle) -> None:
    opened = Bundle.open(written.folder)
    assert opened == written
    hashes = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents(written.folder).items()
        if name != "manifest.json"
    }
    assert hashes.keys() == FILES.keys()
    assert opened.manifest == replace(MANIFEST, files=hashes)
    for name, content in FILES.items():
        assert (written.folder / name).read_bytes() == content


def test_the_identity_is_the_hash_of_the_manifest_file(written: Bundle) -> None:
    data = (written.folder / "manifest.json").read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    assert Bundle.open(written.folder).manifest.sha256 == written.manifest.sha256 == sha256


def test_the_manifest_file(written: Bundle) -> None:
    document = json.loads((written.folder / "manifest.json").read_bytes())
    assert next(iter(document)) == "format_version"
    assert document == {
        "format_version": 1,
        "name": "small",
        "languages": ["en", "ko"],
        "architecture": SMALL.to_dict(),
        "tokenizer": "sentencepiece",
        "weights_dtype": "float32",
        "layer_names": ["token_embedding", "lstm_1", "lstm_2"],
        "training": {"tokens": 12345, "corpora": ["a tale, 이야기"], "perplexity": {"en": 81.25}},
        "rounding": {"layers": 3e-4},
        "licence": "Apache-2.0",
        "files": written.manifest.files,
    }


def test_no_bundle(tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "manifest.json", "expected a file, found none$")
    assert_refused(tmp_path, "manifest.json", "expected a file, found none$")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff\xfe{}", b"[1, 2]", b"null", b"[" * 10**6, b'{"a":' * 10**6]
)
def test_a_manifest_that_is_no_json_object(folder: Path, data: bytes) -> None:
    (folder / "manifest.json").write_bytes(data)
    assert_refused(folder, "manifest.json", "expected (JSON|a JSON object), found ")


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_an_unknown_format_version(folder: Path, version: object) -> None:
    """It is what the error is about, though such a manifest lacks fields too."""
    (folder / "manifest.json").write_text(json.dumps({"format_version": version}), encoding="utf-8")
    assert_refused(folder, "manifest.json", f"expected format_version 1, found {version!r}$")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", 3, "expected name: a string, found 3$"),
        ("languages", "en", "expected languages: a list of strings, found 'en'$"),
        ("languages", ["en", 1], "expected languages: a list of strings, found "),
        ("tokenizer", "bytes", 'expected tokenizer: "sentencepiece" or "words", found \'bytes\'$'),
        ("weights_dtype", "int8", 'expected weights_dtype: "float16" or "float32", found '),
        ("training", [], r"expected training: an object, found \[\]$"),
        ("rounding", {"layers": "small"}, "expected rounding: an object of numbers, found "),
        ("licence", None, "expected licence: a string, found None$"),
        ("files", ["weights.safetensors"], "expected files: an object of sha256 hashes, found "),
        ("files", {"weights.safetensors": "abc"}, "expected files: an object of sha256 hashes, found "),
        (
            "layer_names",
            ["a", "b", "c"],
            r"expected layer_names: \['token_embedding', 'lstm_1', 'lstm_2'\], ",
        ),
        ("architecture", 7, "expected architecture: an object, found 7$"),
        ("architecture", {"cell": "lstm"}, "missing field 'num_layers': "),
    ],
)
def test_a_wrong_field(folder: Path, field: str, value: object, message: str) -> None:
    edit_manifest(folder, lambda document: document.update({field: value}))
    assert_refused(folder, "manifest.json", message)


def test_missing_and_unknown_fields(folder: Path) -> None:
    edit_manifest(folder, lambda document: document.pop("licence"))
    assert_refused(folder, "manifest.json", "expected a field licence, found none$")
    edit_manifest(folder, lambda document: document.update(licence="MIT", colour="blue"))
    assert_refused(folder, "manifest.json", "expected no field colour, found one$")


@pytest.mark.parametrize("name", MANIFEST.required_files)
def test_a_bundle_needs_its_files(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert_refused(folder, name, "expected a file, found none$")
    edit_manifest(folder, lambda document: document["files"].pop(name))
    assert_refused(folder, "manifest.json", f"expected files: .*, found 'no {re.escape(name)}'$")


@pytest.mark.parametrize("name", [*MANIFEST.required_files, "MODEL_CARD.md"])
def test_one_changed_byte(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    expected = hashlib.sha256(data).hexdigest()
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = hashlib.sha256(data).hexdigest()
    assert_refused(folder, name, f"expected sha256 {expected}, found '{found}'$")


def test_a_truncated_file(folder: Path) -> None:
    os.truncate(folder / "weights.safetensors", 1000)
    assert_refused(folder, "weights.safetensors", "expected sha256 ")


def test_a_folder_in_a_files_place(folder: Path) -> None:
    (folder / "tokenizer.model").unlink()
    (folder / "tokenizer.model").mkdir()
    assert_refused(folder, "tokenizer.model", "expected a readable file, found: Is a directory$")


@pytest.mark.parametrize("name", NOT_PLAIN_NAMES)
def test_names_stay_inside_the_folder(folder: Path, name: str) -> None:
    edit_manifest(folder, lambda document: document["files"].update({name: "0" * 64}))
    assert_refused(folder, "manifest.json", "expected files: plain names other than manifest.json, found ")


def test_weights_of_another_architecture(folder: Path) -> None:
    name = "forward_layers.1.weight_ih_l0"
    others = {other: tensor for other, tensor in TENSORS.items() if other != name}
    replace_file(folder, "weights.safetensors", save(others))
    assert_refused(folder, "weights.safetensors", rf"tensor {name}: expected float32 \(80, 20\), found none$")
    replace_file(folder, "weights.safetensors", save(TENSORS | {name: np.zeros((80, 19), dtype=np.float32)}))
    message = rf"tensor {name}: expected float32 \(80, 20\), found float32 \(80, 19\)$"
    assert_refused(folder, "weights.safetensors", message)
    replace_file(folder, "weights.safetensors", save(TENSORS | {"more": np.zeros(1, dtype=np.float32)}))
    assert_refused(
        folder, "weights.safetensors", r"tensor more: expected no such tensor, found float32 \(1,\)$"
    )


def test_weights_of_another_dtype(folder: Path) -> None:
    edit_manifest(folder, lambda document: document.update(weights_dtype="float16"))
    assert_refused(folder, "weights.safetensors", "tensor .*: expected float16 .*, found float32 ")


def test_weights_that_are_no_safetensors(folder: Path) -> None:
    nested = b"[" * 10**6
    for content in (b"weights!", len(nested).to_bytes(8, "little") + nested):
        replace_file(folder, "weights.safetensors", content)
        assert_refused(folder, "weights.safetensors", "expected a safetensors header, found ")

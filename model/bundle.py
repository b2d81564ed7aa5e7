"""A model on disk: a folder of files, and a manifest that names them all with their hashes.

Reading verifies every hash, so that what runs is what was written. Writing is atomic: a bundle appears under
its name when all of it is on the disk, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any

from model.architecture import Architecture
from model.files import (
    LM_HEADS_FILE,
    MANIFEST_FILE,
    REQUIRED_FILES,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    WORDS_FILE,
)
from model.weights import check_tensors, read_header

FORMAT_VERSION = 1

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20


class BundleError(ValueError):
    """A bundle that cannot be used: names the file, what was expected there and what was found."""


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says."""

    name: str
    languages: list[str]
    architecture: Architecture
    tokenizer: str  # "sentencepiece", or "words" for an imported checkpoint
    weights_dtype: str  # "float16" or "float32"
    training: dict[str, Any]  # the run's own record
    rounding: dict[str, float]  # what rounding the weights to weights_dtype changed
    licence: str
    files: dict[str, str] = field(default_factory=dict)  # name -> sha256; filled in by write_bundle
    format_version: int = FORMAT_VERSION
    # Of manifest.json, and so of all that it lists: the identity of the model. "" until it is written.
    sha256: str = field(default="", compare=False)

    @property
    def layer_names(self) -> list[str]:
        """The L layers of a reply, in order."""
        cell = self.architecture.cell
        return ["token_embedding", *(f"{cell}_{i + 1}" for i in range(self.architecture.num_layers))]

    @property
    def required_files(self) -> list[str]:
        """What a bundle of this model cannot do without."""
        asked = {
            TOKENIZER_FILE: self.tokenizer == "sentencepiece",
            # A trained network's words are the tokenizer's pieces.
            WORDS_FILE: self.architecture.word_dim > 0 and self.tokenizer == "words",
            LM_HEADS_FILE: self.architecture.has_softmax,
        }
        return [*REQUIRED_FILES, *(name for name, is_needed in asked.items() if is_needed)]

    def to_json(self) -> bytes:
        """Return the file. Raises ValueError when JSON cannot hold the training record."""
        document = asdict(self) | {
            "architecture": self.architecture.to_dict(),
            "layer_names": self.layer_names,
            "files": dict(sorted(self.files.items())),
        }
        del document["sha256"]
        ordered = {"format_version": document.pop("format_version"), **document}
        return (json.dumps(ordered, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Raise ValueError, naming the field, when this is not what `to_json` writes."""
        document = _json_object(data)
        # First: another format may differ in everything else.
        version = document.get("format_version")
        _expect(version == FORMAT_VERSION, f"format_version {FORMAT_VERSION}", version)
        names = {item.name for item in fields(cls)} - {"sha256"} | {"layer_names"}
        if missing := sorted(names - document.keys()):
            raise ValueError(f"expected a field {missing[0]}, found none")
        if unknown := sorted(document.keys() - names):
            raise ValueError(f"expected no field {unknown[0]}, found one")
        for name, (expected, holds) in _FIELDS.items():
            _expect(holds(document[name]), f"{name}: {expected}", document[name])
        layer_names = document.pop("layer_names")
        architecture = Architecture.from_dict(document.pop("architecture"))
        manifest = cls(**document, architecture=architecture, sha256=hashlib.sha256(data).hexdigest())
        _check_names(manifest.files, manifest)
        _expect(layer_names == manifest.layer_names, f"layer_names: {manifest.layer_names}", layer_names)
        return manifest


@dataclass(frozen=True)
class Bundle:
    """A folder whose every file is the one that its manifest lists."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read the manifest and verify every file that it lists. Raises BundleError."""
        with _named(folder / MANIFEST_FILE) as path:
            manifest = Manifest.from_json(path.read_bytes())
        for name, expected in manifest.files.items():
            with _named(folder / name) as path:
                found = _file_sha256(path)
                _expect(found == expected, f"sha256 {expected}", found)
        with _named(folder / WEIGHTS_FILE) as path:
            check_tensors(read_header(path), manifest.architecture, manifest.weights_dtype)
        return cls(folder, manifest)


def write_bundle(
    folder: Path,
    manifest: Manifest,
    files: Mapping[str, bytes | Path],
    check: Callable[[Bundle], None] | None = None,
) -> Bundle:
    """Write a bundle, and return it opened; an older bundle in this place is replaced.

    All is written, read back and verified in a folder beside it, `.NAME.*.partial`, which then takes the
    name; an older bundle waits as `.NAME.*.replaced` until it has. After a kill at any moment the older
    bundle stands under the name, or the new one does, or nothing does, when the kill fell between the two
    renames. Then `.NAME.*.replaced` is the whole older bundle and `.NAME.*.partial` the whole new one: rename
    either. In all other cases both kinds may be deleted.

    manifest: without hashes. files: content, or where to copy it from, by name. check: called with the bundle
    in its partial folder; what it raises is raised here. Raises BundleError when the files are not a bundle,
    or when the folder exists and is none; OSError, naming the file, when one cannot be written. Nothing is
    left behind after an error.
    """
    folder = folder.resolve()
    with _named(folder / MANIFEST_FILE):
        _check_names(files, manifest)
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST_FILE).exists():
        raise BundleError(f"{folder}: expected a new or empty folder or a bundle, found other files")
    partial = _sibling(folder, "partial")
    partial.mkdir(parents=True)
    try:
        hashes = {name: _write(partial / name, content) for name, content in files.items()}
        _write(partial / MANIFEST_FILE, replace(manifest, files=hashes).to_json())
        _sync(partial)
        bundle = Bundle.open(partial)
        if check:
            check(bundle)
        _take_name(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return replace(bundle, folder=folder)


def _sibling(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{kind}")


def _write(path: Path, content: bytes | Path) -> str:
    """Write one file through to the disk, and return its sha256."""
    digest = hashlib.sha256()
    try:
        with path.open("xb") as file:
            for chunk in _chunks(content):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        # A failed write does not say which file it was; a failed open does.
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error
    return digest.hexdigest()


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _take_name(partial: Path, folder: Path) -> None:
    """Move the partial folder to its final name: two renames where an older one is in the way."""
    if not folder.exists():
        partial.rename(folder)
        _sync(folder.parent)
        return
    older = _sibling(folder, "replaced")
    folder.rename(older)
    try:
        partial.rename(folder)
    except OSError:
        older.rename(folder)
        raise
    _sync(folder.parent)
    shutil.rmtree(older, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Write a folder's names through to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    """Turn what goes wrong with a file into a BundleError that names it."""
    try:
        yield path
    except FileNotFoundError as error:
        raise BundleError(f"{path}: expected a file, found none") from error
    except OSError as error:
        raise BundleError(f"{path}: expected a readable file, found: {error.strerror}") from error
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error


def _check_names(files: Iterable[str], manifest: Manifest) -> None:
    """Raise ValueError unless every file is inside the folder and nothing that the model needs is missing."""
    names = list(files)
    for name in names:
        plain = _FILE_NAME.fullmatch(name) is not None and name != MANIFEST_FILE
        _expect(plain, f"files: plain names other than {MANIFEST_FILE}", name)
    missing = [name for name in manifest.required_files if name not in names]
    _expect(not missing, f"files: {', '.join(manifest.required_files)}", f"no {', '.join(missing)}")


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # bytes that are no UTF-8 too; brackets without end
        raise ValueError(f"expected JSON, found something else: {error}") from error
    _expect(isinstance(document, dict), "a JSON object", document)
    return document  # type: ignore[no-any-return]


def _is_list_of(kind: type | UnionType, value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _are_sha256(files: dict[str, object]) -> bool:
    return all(isinstance(value, str) and _SHA256.fullmatch(value) for value in files.values())


# What each field of the manifest must be; `Architecture` says what is in its own.
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "name": ("a string", lambda value: isinstance(value, str)),
    "languages": ("a list of strings", lambda value: _is_list_of(str, value)),
    "architecture": ("an object", lambda value: isinstance(value, dict)),
    "tokenizer": ('"sentencepiece" or "words"', lambda value: value in ("sentencepiece", "words")),
    "weights_dtype": ('"float16" or "float32"', lambda value: value in ("float16", "float32")),
    "training": ("an object", lambda value: isinstance(value, dict)),
    "rounding": (
        "an object of numbers",
        lambda value: isinstance(value, dict) and _is_list_of(int | float, list(value.values())),
    ),
    "licence": ("a string", lambda value: isinstance(value, str)),
    "files": ("an object of sha256 hashes", lambda value: isinstance(value, dict) and _are_sha256(value)),
}


def _expect(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, found {found!r:.200}")

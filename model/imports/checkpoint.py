"""What a published checkpoint becomes, and how its files are checked on the way.

Nothing is taken on trust: every option, dataset and tensor is one that the format has, of the type and shape
that the options say, and finite; what a file has beyond them is refused, because it might matter.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from model.architecture import Architecture
from model.elmo_characters import NUM_MARKS, ByteRows, CodePointRows, WordIds
from model.json_values import read_boolean, read_integer, read_list, read_number, read_string

MOST = 100_000
"""Of whatever an option counts: more is a mistake, and would be looked for one by one."""

Floats = npt.NDArray[np.float32]
Value = TypeVar("Value")


class CheckpointError(ValueError):
    """A checkpoint that cannot be imported: names the file and the key, what was expected and what found."""


@dataclass(frozen=True)
class Checkpoint:
    """A network, and what it reads words with."""

    architecture: Architecture
    tensors: dict[str, Floats]  # by their names in weights.safetensors
    rows: ByteRows | CodePointRows
    words: WordIds | None
    record: dict[str, Any]  # where it came from, for the manifest


class Options:
    """An object of a JSON file, whose fields are read one by one."""

    def __init__(self, path: Path, values: object, place: str = "") -> None:
        """place: of the object within the file, as in "char_cnn". Raises CheckpointError when it is none."""
        self._path, self._place = path, place
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: {place or 'the file'}: expected an object, found {values!r:.100}")
        self._values: dict[str, Any] = values

    @classmethod
    def read(cls, path: Path) -> Options:
        """Raise CheckpointError when the file cannot be read or holds no JSON object."""
        data = read_bytes(path)
        try:
            values = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:  # brackets without end too
            raise CheckpointError(f"{path}: expected JSON in UTF-8, found something else: {error}") from error
        return cls(path, values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def section(self, name: str) -> Options:
        return Options(self._path, self._value(name), self._named(name))

    def integer(self, name: str, *, least: int = 1, default: int | None = None) -> int:
        """Return a count; the default, if there is one, stands for a missing field."""
        if default is not None and name not in self:
            return default
        value = self._read(read_integer, name)
        if not least <= value <= MOST:
            raise self.error(name, f"expected an integer from {least} to {MOST}, got {value!r:.100}")
        return value

    def boolean(self, name: str) -> bool:
        return self._read(read_boolean, name)

    def string(self, name: str) -> str:
        return self._read(read_string, name)

    def clip(self, name: str) -> float | None:
        """Return a clip's value; null and a missing field mean none."""
        if self._values.get(name) is None:
            return None
        value = self._read(read_number, name)
        if not (math.isfinite(value) and value > 0):
            raise self.error(name, f"expected a finite number above 0, got {value}")
        return value

    def choice(self, name: str, *choices: Value) -> Value:
        found = self._value(name)
        for each in choices:
            if found == each and type(found) is type(each):
                return each
        raise self.error(name, f"expected {' or '.join(map(json.dumps, choices))}, found {found!r:.100}")

    def filters(self, name: str) -> tuple[tuple[int, int], ...]:
        def pairs(name: str, value: object) -> tuple[tuple[int, int], ...]:
            rows = [read_list(name, row) for row in read_list(name, value)]
            if not rows or any(len(row) != 2 for row in rows):
                raise ValueError(f"{name}: expected [width, count] pairs, got {rows!r:.100}")
            return tuple((read_integer(name, width), read_integer(name, count)) for width, count in rows)

        found = self._read(pairs, name)
        if wrong := [pair for pair in found if not all(1 <= each <= MOST for each in pair)]:
            raise self.error(name, f"expected integers from 1 to {MOST}, got {wrong[0]!r:.100}")
        return found

    def max_characters(self, name: str, filters: Sequence[tuple[int, int]]) -> int:
        """Return how long the row of a word is: it holds its marks and a character, and the widest filter."""
        return self.integer(name, least=max(NUM_MARKS + 1, *(width for width, _ in filters)))

    def expect_only(self, *names: str) -> None:
        """Raise CheckpointError for a field that this format does not have: it may change the network."""
        if unknown := sorted(self._values.keys() - set(names)):
            raise self.error(unknown[0], f"expected one of {', '.join(names)}, found another option")

    def error(self, name: str, message: str) -> CheckpointError:
        return CheckpointError(f"{self._path}: {self._named(name)}: {message}")

    def _named(self, name: str) -> str:
        return f"{self._place}.{name}" if self._place else name

    def _value(self, name: str) -> object:
        if name not in self._values:
            raise self.error(name, "expected a value, found none")
        return self._values[name]

    def _read(self, read: Callable[[str, object], Value], name: str) -> Value:
        try:
            return read(self._named(name), self._value(name))
        except CheckpointError:
            raise
        except ValueError as error:
            raise CheckpointError(f"{self._path}: {error}") from error


def build_architecture(**fields: Any) -> Architecture:
    """Return the architecture of an imported model: of LSTMs, without a softmax. fields: checked options."""
    return Architecture(cell="lstm", vocabulary_size=0, adaptive_cutoffs=(), adaptive_div_value=1.0, **fields)


def check_keys(path: Path, found: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raise CheckpointError unless these are the names that the file should hold; what: "dataset"."""
    found, expected = set(found), set(expected)
    if missing := sorted(expected - found):
        raise CheckpointError(f"{path}: {missing[0]}: expected a {what} of this name, found none")
    if extra := sorted(found - expected):
        raise CheckpointError(f"{path}: {extra[0]}: expected no {what} of this name, found one")


def check_values(path: Path, name: str, values: npt.NDArray[Any], shape: tuple[int, ...]) -> Floats:
    """Return float32 in this machine's byte order. Raises CheckpointError for another dtype or shape, and for
    a value that is not finite."""
    if values.shape != shape or values.dtype.newbyteorder("=") != np.float32:
        raise CheckpointError(
            f"{path}: {name}: expected float32 {shape}, found {values.dtype} {values.shape}"
        )
    floats = values.astype(np.float32)
    if not np.isfinite(floats).all():
        raise CheckpointError(
            f"{path}: {name}: expected finite values, found {floats[~np.isfinite(floats)][0]}"
        )
    return floats


def read_bytes(path: Path) -> bytes:
    """Raise CheckpointError when the file cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: expected a readable file, found: {error.strerror}") from error


def source_record(format: str, files: Iterable[Path], arrays: Iterable[Floats]) -> dict[str, Any]:
    """Return what the manifest keeps of where a model came from: the hash of every file."""
    hashes = {}
    for path in files:
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return {"imported_from": format, "sources": hashes, "parameters": sum(array.size for array in arrays)}

"""Read a task's JSON document field by field; what does not fit is named, with what was expected and
found."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from model.scalar_mix import MAX_COEFFICIENT

Floats = npt.NDArray[np.float32]

_SHOWN_CHARACTERS = 60


class Fields:
    """A JSON object under a name ("" for the document itself). Every method raises ValueError."""

    def __init__(self, value: object, name: str = "") -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"{name or 'document'}: expected an object, got {_shown(value)}")
        self._values: Mapping[str, Any] = value
        self._name = name

    def path(self, field: str) -> str:
        """Return the field's full name, as it stands in errors."""
        return f"{self._name}.{field}" if self._name else field

    def only(self, *fields: str) -> None:
        """Refuse every other field: a misspelled one must not be passed over."""
        for field in self._values:
            if field not in fields:
                raise ValueError(
                    f"{self.path(str(field))}: expected no such field; known: {', '.join(fields)}"
                )

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def has(self, field: str) -> bool:
        """A field that is null counts as absent."""
        return self._values.get(field) is not None

    def get(self, field: str) -> Any:
        if field not in self._values:
            raise ValueError(f"{self.path(field)}: expected a value, found none")
        return self._values[field]

    def inner(self, field: str) -> Fields:
        return Fields(self.get(field), self.path(field))

    def text(self, field: str) -> str:
        value = self.get(field)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{self.path(field)}: expected a text, not empty, got {_shown(value)}")
        return value

    def one_of(self, field: str, allowed: Sequence[str]) -> str:
        value = self.get(field)
        if value not in allowed:
            raise ValueError(f"{self.path(field)}: expected {' or '.join(allowed)}, got {_shown(value)}")
        return str(value)

    def truth(self, field: str) -> bool:
        value = self.get(field)
        if not isinstance(value, bool):
            raise ValueError(f"{self.path(field)}: expected true or false, got {_shown(value)}")
        return value

    def count(self, field: str) -> int:
        return _count(self.get(field), self.path(field))

    def number(self, field: str) -> float:
        return _number(self.get(field), self.path(field))

    def coefficient(self, field: str) -> float:
        """A number from 0 to the largest that a mix may have; 0 when it is left out."""
        value = self.number(field) if self.has(field) else 0.0
        if not 0 <= value <= MAX_COEFFICIENT:
            expected = f"a number from 0 to {MAX_COEFFICIENT:,.0f}"
            raise ValueError(f"{self.path(field)}: expected {expected}, got {value}")
        return value

    def share(self, field: str) -> float:
        """A number from 0 to 1."""
        value = self.number(field)
        if not 0 <= value <= 1:
            raise ValueError(f"{self.path(field)}: expected a number from 0 to 1, got {value}")
        return value

    def numbers(self, field: str) -> tuple[float, ...]:
        return tuple(_number(v, f"{self.path(field)}[{i}]") for i, v in enumerate(self.items(field)))

    def counts(self, field: str) -> tuple[int, ...]:
        return tuple(_count(v, f"{self.path(field)}[{i}]") for i, v in enumerate(self.items(field)))

    def texts(self, field: str) -> tuple[str, ...]:
        """Texts of which no two are equal, none empty."""
        values = self.items(field)
        seen: set[str] = set()
        for index, value in enumerate(values):
            name = f"{self.path(field)}[{index}]"
            if not isinstance(value, str) or not value:
                raise ValueError(f"{name}: expected a text, not empty, got {_shown(value)}")
            if value in seen:
                raise ValueError(f"{name}: expected different texts, got {_shown(value)} twice")
            seen.add(value)
        return tuple(values)

    def items(self, field: str) -> list[Any]:
        value = self.get(field)
        if not isinstance(value, list | tuple):
            raise ValueError(f"{self.path(field)}: expected a list, got {_shown(value)}")
        return list(value)

    def array(self, field: str, *shape: int | str) -> Floats:
        """Read what `array_document` wrote; a letter in the shape stands for any size of 1 or more."""
        inner = self.inner(field)
        inner.only("dtype", "shape", "data")
        inner.one_of("dtype", ("float32",))
        found = inner.counts("shape")
        fits = len(found) == len(shape) and all(
            size >= 1 if isinstance(expected, str) else size == expected
            for expected, size in zip(shape, found, strict=True)
        )
        if not fits:
            expected_shape = ", ".join(map(str, shape))
            raise ValueError(f"{inner.path('shape')}: expected ({expected_shape}), got {found}")
        data = inner.get("data")
        if not isinstance(data, str):
            raise ValueError(f"{inner.path('data')}: expected base64, got {_shown(data)}")
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
            raise ValueError(f"{inner.path('data')}: expected base64: {error}") from error
        expected_bytes = 4 * math.prod(found)
        if len(raw) != expected_bytes:
            raise ValueError(f"{inner.path('data')}: expected {expected_bytes:,} bytes, got {len(raw):,}")
        array = np.frombuffer(raw, dtype="<f4").reshape(found).astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError(f"{inner.path('data')}: expected finite numbers, got some that are not")
        array.flags.writeable = False
        return array


def array_document(array: Floats) -> dict[str, Any]:
    """Return a JSON object: little-endian float32, row by row, in base64."""
    data = base64.b64encode(np.ascontiguousarray(array, dtype="<f4").tobytes()).decode("ascii")
    return {"dtype": "float32", "shape": list(array.shape), "data": data}


def _number(value: object, name: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # An integer of a thousand digits is no float.
    if not is_number or not abs(value) <= 1e300:  # type: ignore[arg-type]
        raise ValueError(f"{name}: expected a finite number, got {_shown(value)}")
    return float(value)  # type: ignore[arg-type]


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError(f"{name}: expected a whole number from 0, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Short: a document may hold megabytes."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a very large number"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."

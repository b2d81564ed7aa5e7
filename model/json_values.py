"""One value of a JSON document. Each function raises ValueError, naming the field, when it is another; what
came instead is told by its beginning."""

from __future__ import annotations

from typing import Any


def read_string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a string, got {value!r:.100}")
    return value


def read_boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {value!r:.100}")
    return value


def read_integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: expected an integer, got {value!r:.100}")
    return value


def read_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}: expected a number, got {value!r:.100}")
    try:
        return float(value)
    except OverflowError as error:  # JSON knows no limit to an integer
        raise ValueError(f"{name}: expected a number that a float can hold, got {value!r:.100}") from error


def read_list(name: str, value: object) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: expected a list, got {value!r:.100}")
    return value


def read_integers(name: str, value: object) -> tuple[int, ...]:
    return tuple(read_integer(name, item) for item in read_list(name, value))

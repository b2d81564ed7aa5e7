"""How a setting is declared, named, read from text and explained; the settings themselves are in settings.py.

A setting `queue_tokens` is the variable POLYSEME_QUEUE_TOKENS and the flag --queue-tokens.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import Any

PREFIX = "POLYSEME_"

Given = str | Sequence[str]
"""The text of a variable or of a flag, or the texts of a flag that may be given several times."""


class SettingsError(ValueError):
    """A setting has a value that it cannot have: one line that names its source and what was expected."""


class Secrets(tuple[str, ...]):
    """Texts that nobody may read in a log, a traceback or on a page."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    __str__ = __repr__


@dataclass(frozen=True)
class Declaration:
    """What a setting is, for the operator who reads --help."""

    what: str
    raising: str = ""
    lowering: str = ""
    least: int = 0
    most: int | None = None
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    pattern: str = ""  # of each item of a list
    items: str = ""  # what a text, or the items of a list, are, in words
    read: Callable[[str], Any] | None = None  # makes the value of the text; ValueError says what it expected

    @property
    def expected(self) -> str:
        """The values that are accepted, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.items:
            return self.items
        limit = f"from {self.least} to {self.most}" if self.most is not None else f"of at least {self.least}"
        return f"a whole number {limit}"


def declare(default: Any, what: str, **details: Any) -> Any:
    """Return a dataclass field that carries its declaration."""
    return field(default=default, metadata={"declaration": Declaration(what, **details)})


def declaration_of(setting: Field[Any]) -> Declaration:
    declaration = setting.metadata["declaration"]
    assert isinstance(declaration, Declaration)
    return declaration


def variable_name(name: str) -> str:
    return PREFIX + name.upper()


def flag_name(name: str) -> str:
    return "--" + name.replace("_", "-")


def metavar(setting: Field[Any]) -> str:
    """Return what stands for the value on the help page."""
    declaration = declaration_of(setting)
    if declaration.metavar:
        return declaration.metavar
    return "CHOICE" if declaration.choices else "N" if isinstance(setting.default, int) else "TEXT"


def help_text(setting: Field[Any]) -> str:
    """Return what --help and the documentation say of one setting."""
    declaration = declaration_of(setting)
    parts = [declaration.what]
    if declaration.choices:
        parts.append(f"One of {', '.join(declaration.choices)}.")
    if declaration.raising:
        parts.append(f"Raising it: {declaration.raising}. Lowering it: {declaration.lowering}.")
    default = f", default {setting.default}" if isinstance(setting.default, int | str) else ""
    return " ".join([*parts, f"[{variable_name(setting.name)}{default}]"])


def convert(setting: Field[Any], given: Given, source: str) -> Any:
    """Return the value that a text gives; `source` is the flag or the variable. Raises SettingsError."""
    declaration = declaration_of(setting)
    value: Any
    if declaration.read is not None:
        assert isinstance(given, str)
        try:
            return declaration.read(given)
        except ValueError as error:
            raise SettingsError(f"{source}: {error}") from error
    match setting.default:
        case Secrets():
            # What came is not repeated: it may be a key with a typing error.
            return Secrets(_items(given, declaration, f"{source}: expected {declaration.expected}"))
        case tuple() if declaration.pattern:
            return _items(given, declaration, f"{source}: expected {declaration.expected}, got {given!r}")
        case tuple():
            folders = given.split(os.pathsep) if isinstance(given, str) else given
            if not all(folders):
                raise SettingsError(f"{source}: expected the folder of a bundle, got an empty name")
            return tuple(Path(folder) for folder in folders)
        case int():
            value = _integer(given, declaration)
        case _:
            value = given or None
    if value is None or (declaration.choices and value not in declaration.choices):
        raise SettingsError(f"{source}: expected {declaration.expected}, got {given!r}")
    return value


def _items(given: Given, declaration: Declaration, complaint: str) -> tuple[str, ...]:
    assert isinstance(given, str)
    items = tuple(item.strip() for item in given.split(","))
    if not all(re.fullmatch(declaration.pattern, item) for item in items):
        raise SettingsError(complaint)
    return items


def _integer(given: Given, declaration: Declaration) -> int | None:
    """Return the number, or None when it is none or out of range."""
    assert isinstance(given, str)
    try:
        value = int(given)
    except ValueError:
        return None
    too_large = declaration.most is not None and value > declaration.most
    return None if value < declaration.least or too_large else value


def refuse_unknown(environment: Mapping[str, str], names: Sequence[str]) -> None:
    """Raise SettingsError for a variable that begins like ours and is none of the settings `names`."""
    known = {variable_name(name) for name in names}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX) or variable in known or is_service_link(variable, text):
            continue
        endings = [name.removeprefix(PREFIX) for name in known]
        near = difflib.get_close_matches(variable.removeprefix(PREFIX), endings, n=2, cutoff=0.7)
        meant = " or ".join(PREFIX + name for name in near)
        hint = f"did you mean {meant}?" if near else "polyseme serve --help lists them"
        raise SettingsError(f"{variable}: expected the variable of a setting, got an unknown name; {hint}")


def is_service_link(variable: str, text: str) -> bool:
    """Whether Kubernetes has set this variable, as it does in every pod beside a Service named "polyseme".

    Source: Kubernetes' documentation, "Accessing the Service: Environment Variables".
    """
    if variable == f"{PREFIX}PORT":
        return re.match(r"(tcp|udp|sctp)://", text) is not None
    return re.fullmatch(rf"{PREFIX}(SERVICE_(HOST|PORT.*)|PORT_\d+_(TCP|UDP|SCTP).*)", variable) is not None

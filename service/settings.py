"""Every setting of the service, declared once: its default, its range, and what raising or lowering it costs.

A setting `queue_tokens` is the variable POLYSEME_QUEUE_TOKENS and the flag --queue-tokens; a flag wins over
the variable, the variable over the default. The help page, the checks and the values all come from the class
below.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import model

PREFIX = "POLYSEME_"
SHIPPED_BUNDLE = Path(model.__file__).parent / "pretrained" / "enko"


class SettingsError(ValueError):
    """A setting has a value that it cannot have: one line that names its source and what was expected."""


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

    @property
    def expected(self) -> str:
        """The values that are accepted, in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        limit = f"from {self.least} to {self.most}" if self.most is not None else f"of at least {self.least}"
        return f"a whole number {limit}"


def declare(default: Any, what: str, **details: Any) -> Any:
    """Return a dataclass field that carries its declaration."""
    return field(default=default, metadata={"declaration": Declaration(what, **details)})


@dataclass(frozen=True)
class Settings:
    """The values of one running server."""

    host: str = declare("127.0.0.1", "Address to listen on; 0.0.0.0 is every interface of the machine.")
    port: int = declare(8000, "Port to listen on; 0 takes any free one and says which.", most=65535)
    bundle: tuple[Path, ...] = declare(
        (SHIPPED_BUNDLE,),
        f"Folder of a bundle to serve. Give the flag once for each; in the variable they are separated "
        f"by {os.pathsep!r}. Default: the English and Korean bundle that comes with the package.",
        metavar="FOLDER",
    )
    threads: int = declare(
        0,
        "Compute threads; 0 counts the CPUs that the cgroup's quota and the affinity leave to this process.",
        raising="faster batches, up to the CPUs there really are; beyond them, every batch is slower",
        lowering="leaves CPU to other processes, and to this one's tokenising and serialising",
        most=1024,
    )
    batch_tokens: int = declare(
        1024,
        "Most tokens in one batch, padding counted. A longer sentence runs in a batch of its own.",
        raising="more tokens a second under load, and more memory; a short request waits longer",
        lowering="a short request waits less for the batch before it; fewer tokens a second",
        least=1,
    )
    batch_age_ms: int = declare(
        100,
        "Under load short sentences go first, until one has waited this long: the next batch is built "
        "around it.",
        raising="less padding and a lower mean latency; long sentences wait longer",
        lowering="nearer to first come, first served; more padding",
    )
    queue_tokens: int = declare(
        32768,
        "Most tokens waiting for the engine. A request that does not fit beside what waits gets 429, one "
        "that could never fit gets 413.",
        raising="longer bursts and larger requests are taken; the last in the queue waits longer, and a "
        "large reply takes more memory (11 kB a token as JSON with 1,024 dimensions)",
        lowering="overload is refused sooner, so what is accepted is answered sooner",
        least=1,
    )
    cache_tokens: int = declare(
        16384,
        "Token vectors kept, the least recently used leaving first; 0 keeps none. Replies are the same.",
        raising="fewer tokens go through the character CNN again; memory, 4 bytes x half the dimension each",
        lowering="less memory; rare tokens are computed more often",
        most=10_000_000,
    )
    max_inputs: int = declare(
        2048,
        "Most inputs in one request; more get 413.",
        raising="fewer round trips for bulk work; larger replies, which are built in memory",
        lowering="bounds what one request can cost",
        least=1,
    )
    max_characters: int = declare(
        200_000,
        "Most characters (code points) in one input; a longer one gets 413, never a silent cut.",
        raising="longer documents in one piece; each holds the engine, and its memory, for longer",
        lowering="bounds how long one input can hold the engine",
        least=1,
    )
    max_body_bytes: int = declare(
        2 * 1024 * 1024,
        "Most bytes in a request's body; a larger one gets 413 before it is parsed or even read.",
        raising="larger requests; 1 MiB of JSON stops all else for 1 to 30 ms, of hostile JSON for 110",
        lowering="bounds what one client can make the server read",
        least=1,
    )
    drain_s: int = declare(
        30,
        "Seconds that requests in flight have to end after SIGTERM or Ctrl-C; then they are cut off.",
        raising="long replies end well; a stop takes longer",
        lowering="a stop is quick; slow readers lose their reply",
    )
    log_level: str = declare(
        "info",
        "Least severe message to log, on standard error.",
        choices=("debug", "info", "warning", "error"),
    )


def read_settings(
    environment: Mapping[str, str], flags: Mapping[str, str | Sequence[str] | None]
) -> Settings:
    """Return the settings that the flags and the variables give; a flag that was not given is None.

    Raises SettingsError with one line.
    """
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        given = flags.get(setting.name)
        if given is not None:
            values[setting.name] = _convert(setting, given, flag_name(setting.name))
        elif text := environment.get(variable_name(setting.name)):
            values[setting.name] = _convert(setting, text, variable_name(setting.name))
    return Settings(**values)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add one flag for each setting; their values stay text, so that variables and flags are checked
    alike."""
    for setting in fields(Settings):
        declaration = declaration_of(setting)
        parser.add_argument(
            flag_name(setting.name),
            action="append" if _TYPES[setting.name] == tuple[Path, ...] else "store",
            metavar=declaration.metavar
            or ("LEVEL" if declaration.choices else "N" if _is_int(setting) else "TEXT"),
            help=help_text(setting).replace("%", "%%"),
        )


def help_text(setting: Field[Any]) -> str:
    """Return what --help and the documentation say of one setting."""
    declaration = declaration_of(setting)
    parts = [declaration.what]
    if declaration.choices:
        parts.append(f"One of {', '.join(declaration.choices)}.")
    if declaration.raising:
        parts.append(f"Raising it: {declaration.raising}. Lowering it: {declaration.lowering}.")
    default = f", default {setting.default}" if _TYPES[setting.name] in (int, str) else ""
    return " ".join([*parts, f"[{variable_name(setting.name)}{default}]"])


def declaration_of(setting: Field[Any]) -> Declaration:
    declaration = setting.metadata["declaration"]
    assert isinstance(declaration, Declaration)
    return declaration


def variable_name(name: str) -> str:
    return PREFIX + name.upper()


def flag_name(name: str) -> str:
    return "--" + name.replace("_", "-")


def _convert(setting: Field[Any], given: str | Sequence[str], source: str) -> Any:
    declaration = declaration_of(setting)
    if _TYPES[setting.name] == tuple[Path, ...]:
        folders = given.split(os.pathsep) if isinstance(given, str) else given
        if not all(folders):
            raise SettingsError(f"{source}: expected the folder of a bundle, got an empty name")
        return tuple(Path(folder) for folder in folders)
    assert isinstance(given, str)
    value: int | str | None = _integer(given, declaration) if _is_int(setting) else given
    if value is None or (declaration.choices and value not in declaration.choices):
        raise SettingsError(f"{source}: expected {declaration.expected}, got {given!r}")
    return value


def _integer(text: str, declaration: Declaration) -> int | None:
    """Return the number, or None when it is none or out of range."""
    try:
        value = int(text)
    except ValueError:
        return None
    too_large = declaration.most is not None and value > declaration.most
    return None if value < declaration.least or too_large else value


def _is_int(setting: Field[Any]) -> bool:
    return _TYPES[setting.name] is int


_TYPES = get_type_hints(Settings)

"""docs/settings.md: every setting as a table, from its declaration.

`python -m service.settings_page` writes it anew; a test compares.
"""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from service.declaration import declaration_of, flag_name, variable_name
from service.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

HEAD = """# Settings

Every setting of `polyseme serve`, as `polyseme serve --help` has them. A flag wins over its variable, the
variable over the default; an unknown `POLYSEME_` variable is refused at the start. This page is written by
`python -m service.settings_page`.

| flag | variable | default | |
|---|---|---|---|
"""


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(map(_row, fields(Settings)))


def _row(setting: Field[Any]) -> str:
    declaration = declaration_of(setting)
    what = declaration.what
    if declaration.choices:
        what += " One of " + ", ".join(f"`{choice}`" for choice in declaration.choices) + "."
    if declaration.raising:
        what += f"<br>Raising it: {declaration.raising}.<br>Lowering it: {declaration.lowering}."
    default = (
        f"`{setting.default}`" if isinstance(setting.default, int | str) and setting.default != "" else ""
    )
    what = what.replace("|", "\\|")
    return f"| `{flag_name(setting.name)}` | `{variable_name(setting.name)}` | {default} | {what} |\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")

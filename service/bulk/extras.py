"""What this command needs beside the base install, asked for before any work is done."""

from __future__ import annotations

import importlib.util

from service.refusal import Refusal


def need(extra: str, *modules: str) -> None:
    """Raise Refusal, which says what to install, unless all of these can be imported."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise Refusal(f"this needs {' and '.join(missing)}: pip install 'polyseme[{extra}]'")

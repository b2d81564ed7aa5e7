"""Token ids instead of text: some clients send them, and those of another vocabulary mean nothing here."""

from __future__ import annotations

from typing import Any


def are_token_ids(value: Any) -> bool:
    """Whether a field for text holds ids, one list of them or several, as far as its first item tells."""
    while isinstance(value, list) and value:
        value = value[0]
        if type(value) is int:
            return True
    return False

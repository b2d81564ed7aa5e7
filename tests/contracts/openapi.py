"""The OpenAPI document as it was last agreed on, and how to renew it.

`python -m tests.contracts.openapi` writes the present one over it; the change then shows in the diff, where a
reviewer asks what it does to clients.
"""

from __future__ import annotations

import json
from pathlib import Path

from service.app import create_app
from service.settings import Settings

GOLDEN = Path(__file__).with_suffix(".json")


def present_document() -> str:
    """Return the document of the application as it is now."""
    return json.dumps(create_app(Settings()).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    GOLDEN.write_text(present_document(), encoding="utf-8")

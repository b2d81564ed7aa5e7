"""docs/elmo.md: published checkpoints become bundles, which are served."""

from __future__ import annotations

from pathlib import Path

from tests.documents import Page, served

PAGE = Page("docs/elmo.md")


def test_published_checkpoints_are_imported_and_served(tmp_path: Path) -> None:
    importing, asking = PAGE.blocks_of("sh")
    PAGE.expect(importing, importing.run(runs=tmp_path))
    flags = ("--bundle", tmp_path / "elmo", "--bundle", tmp_path / "many")
    with served(*flags, models="elmo, many") as address:
        PAGE.expect(asking, asking.run(address))

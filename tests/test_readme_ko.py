"""README.ko.md: what it shares with the README is the same there; its own examples print what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.documents import ROOT, Block, Page, served

PAGE, README = Page("README.ko.md"), Page("README.md")
README_CODE = {block.code for block in README.blocks}
SHARED = [block for block in PAGE.blocks if block.code in README_CODE]
OWN = [block for block in PAGE.blocks if block.code not in README_CODE]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as address:
        yield address


def test_the_start_a_client_a_task_a_corpus_and_training_are_the_readme_s() -> None:
    """The README's tests run them; here they stand as they stand there, with what they print."""
    texts = (
        *("make serve", "feature_extraction", "$TASK/fit?kind", "$TASK/predict"),
        *("polyseme embed", "polyseme-train run"),
    )
    assert [text for block in SHARED for text in texts if text in block.code] == list(texts)
    for block in SHARED:
        (same,) = (each for each in Page("README.md").blocks if each.code == block.code)
        assert (block.shown is None) == (same.shown is None)
        if same.shown is not None:
            PAGE.expect(block, same.shown)


@pytest.mark.parametrize("block", OWN, ids=["first", "language model"])
def test_its_own_examples(address: str, block: Block) -> None:
    PAGE.expect(block, block.run(address))


def test_the_token_without_its_context_is_the_same_everywhere(address: str) -> None:
    first = OWN[0]
    code = first.code.replace('"layer": "top"', '"layer": 0')
    assert code != first.code
    last = Block(first.language, code, None).run(address).splitlines()[-1]
    assert re.findall(r"\d\.\d+", last) == ["1.0"] * 3


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE.text):
        assert (ROOT / target).exists(), target
    for anchor in re.findall(r"README\.md#([a-z-]+)", PAGE.text):
        headings = re.findall(r"^## (.*)$", README.text, re.MULTILINE)
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, anchor


def test_figures_are_the_readme_s() -> None:
    """It names no measurement of its own: what there is of them can go stale in one place only."""
    prose = re.sub(r"```.*?```", "", PAGE.text, flags=re.DOTALL)
    assert re.findall(r"\d+\.\d+ ?%|\d[\d,]* ?(?:tokens/s|토큰/초)", prose) == []

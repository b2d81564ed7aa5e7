"""The shipped bundle: small enough, whole, documented, and the same vectors as when it was made."""

from __future__ import annotations

import numpy as np
import pytest

from model.bundle import Bundle
from model.files import WEIGHTS_FILE
from tests.golden.enko import BUNDLE, GOLDEN, SENTENCES, layers
from training.lineage import corpora_in_all, tokens_in_all

README = BUNDLE.parents[2] / "README.md"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(BUNDLE)


def test_fits_the_repository() -> None:
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) < 60_000_000


def test_has_seen_enough_and_says_so(bundle: Bundle) -> None:
    record = bundle.manifest.training
    tokens = tokens_in_all(record)
    assert tokens > 98_000_000
    assert f"{tokens // 1_000_000} million tokens seen" in README.read_text(encoding="utf-8")
    card = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"tokens seen: {tokens:,}" in card
    assert all(corpus in card for corpus in corpora_in_all(record))


@pytest.mark.parametrize("name", SENTENCES)
def test_vectors_are_the_golden_ones(bundle: Bundle, name: str) -> None:
    with np.load(GOLDEN) as golden:
        weights = bundle.manifest.files[WEIGHTS_FILE]
        assert str(golden["sha256"]) == weights, "a new model: python -m tests.golden.enko"
        expected = golden[name].astype(np.float32)
    found = layers(SENTENCES[name])
    assert found.shape == expected.shape
    # float16 keeps 11 bits of each value.
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

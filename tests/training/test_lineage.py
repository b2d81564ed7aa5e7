from __future__ import annotations

from typing import Any

from model.bundle import Bundle
from training.lineage import base_of, bases, corpora_in_all, tokens_in_all


def base(name: str, training: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "sha256": "0" * 64, "licence": "MIT", "training": training}


FIRST = {"tokens_seen": 1000, "corpora": ["en: a", "ko: b"]}
SECOND = {"tokens_seen": 20, "corpora": ["ko: b", "ko: c"], "base": base("first", FIRST)}
THIRD = {"tokens_seen": 3, "corpora": ["en: d", "en: a"], "base": base("second", SECOND)}


def test_a_run_that_started_from_nothing_has_only_its_own() -> None:
    assert bases(FIRST) == []
    assert tokens_in_all(FIRST) == 1000
    assert corpora_in_all(FIRST) == ["en: a", "ko: b"]


def test_what_came_before_is_counted_and_each_text_is_named_once() -> None:
    assert [record["name"] for record in bases(THIRD)] == ["second", "first"]
    assert tokens_in_all(THIRD) == 1023
    assert corpora_in_all(THIRD) == ["en: d", "en: a", "ko: b", "ko: c"]


def test_a_record_that_says_nothing_adds_nothing() -> None:
    record = {"tokens_seen": 5, "corpora": ["a"], "base": base("silent", {})}
    assert tokens_in_all(record) == 5
    assert corpora_in_all(record) == ["a"]


def test_a_base_is_known_by_the_hash_of_its_manifest(untrained: Bundle) -> None:
    assert base_of(untrained.manifest) == {
        "name": "tiny",
        "sha256": untrained.manifest.sha256,
        "licence": "CC0-1.0",
        "training": untrained.manifest.training,
    }

from __future__ import annotations

from pathlib import Path

import pytest

from training.baselines.tags import CommonestTags, probe_tags
from training.probes.readers.tagged import TaggedSentence
from training.probes.tagging import TaggingSet


def sentence(**tags: str) -> TaggedSentence:
    return TaggedSentence(" ".join(tags), tuple(tags), ((0, 1),) * len(tags), tuple(tags.values()))


def test_a_known_word_gets_its_commonest_tag() -> None:
    tag_of = CommonestTags([sentence(run="NOUN"), sentence(run="VERB"), sentence(run="VERB")])
    assert tag_of("run") == "VERB"


def test_an_unknown_word_gets_that_of_its_longest_known_ending() -> None:
    tag_of = CommonestTags([sentence(walking="VERB", thing="NOUN", king="NOUN", bring="NOUN", old="ADJ")])
    assert tag_of("talking") == "VERB"  # -lking
    assert tag_of("ring") == "NOUN"  # -ring
    assert tag_of("cold") == "ADJ"
    assert tag_of("x") == "NOUN"  # the commonest of all


def test_the_floor_of_a_set(tmp_path: Path) -> None:
    def write(split: str, *words: tuple[str, str]) -> None:
        lines = [f"{i}\t{word}\t_\t{tag}" + "\t_" * 6 for i, (word, tag) in enumerate(words, start=1)]
        (tmp_path / f"{split}.conllu").write_text("\n".join(lines) + "\n\n", encoding="utf-8")

    write("train", ("the", "DET"), ("dog", "NOUN"), ("runs", "VERB"))
    write("dev", ("a", "DET"))
    write("test", ("the", "DET"), ("cat", "NOUN"), ("sins", "VERB"), ("dog", "VERB"))
    # "cat" has no known ending: of three tags once each the first, DET, which is wrong; "dog" is wrong too.
    assert probe_tags(TaggingSet("set"), tmp_path) == {"accuracy": pytest.approx(0.5)}

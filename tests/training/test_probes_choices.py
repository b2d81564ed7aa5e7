from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.choices import AlternativesSet, MinimalPairSet
from training.probes.source import Doubles, SentenceLayers, Subject


class Liking:
    """A sentence is as likely as `likings` says, an unknown one -10."""

    num_vector_layers = 1

    def __init__(self, **likings: float) -> None:
        self.likings = {text.replace("_", " "): value for text, value in likings.items()}

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        raise AssertionError("these sets need no vectors")

    def sentence_scores(self, sentences: Sequence[str]) -> Doubles:
        return np.array([self.likings.get(sentence, -10.0) for sentence in sentences])


def test_of_each_paradigm_the_first_pairs_are_scored(tmp_path: Path) -> None:
    rows = "uid\tgood\tbad\na\tone\tonee\na\ttwo\tt\nb\tthree\tfour\na\tleft out\tx\n"
    (tmp_path / "dev.tsv").write_text(rows)
    model = Liking(one=-1.0, two=-30.0)
    probed = MinimalPairSet("pairs", max_pairs_per_paradigm=2).run(tmp_path, Subject(model, model))
    # one is likelier, two is not, and equals (three, four) are not told apart.
    likelier = probed.rows["likelier sentence"]
    assert likelier["accuracy"] == pytest.approx(1 / 3)
    assert (likelier["accuracy_a"], likelier["accuracy_b"]) == (0.5, 0)
    assert probed.rows["shorter sentence"]["accuracy"] == pytest.approx(1 / 3)
    assert probed.details == {"num_pairs": 3, "num_paradigms": 2}


def test_an_alternative_is_measured_by_what_its_premise_adds(tmp_path: Path) -> None:
    head = "label\tquestion\tpremise\talt0\talt1\n"
    (tmp_path / "test.tsv").write_text(head + "1\t결과\train\tdry\twet\n0\t원인\train\tcloud\tsun\n")
    # "dry" alone is likelier than "wet" by 4, after "rain" by 1: rain speaks for wet. A cause stands first.
    model = Liking(dry=-1, wet=-5, rain_dry=-6, rain_wet=-7, cloud=-2, sun=-2, cloud_rain=-3, sun_rain=-4)
    probed = AlternativesSet("choices").run(tmp_path, Subject(model, model))
    assert probed.rows["likelier sentence"]["accuracy"] == 1
    assert probed.rows["shorter sentence"]["accuracy"] == 0
    assert probed.details == {"num_test": 2}


def test_vectors_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text("uid\tgood\tbad\na\tone\tonee\n")
    with pytest.raises(ValueError, match="got vectors alone"):
        MinimalPairSet("pairs").run(tmp_path, Subject(Liking()))

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.sentences import SentenceSet
from training.probes.source import SentenceLayers, Subject

WORDS = ["good", "bad", "gold", "film", "the", "not"]


class FirstLetters:
    """Words are tokens; layer 0 knows the first letter, layer 1 the word ("?" for one it does not know)."""

    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            words = sentence.split()
            starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
            letters = np.eye(8, dtype=np.float32)[[ord(word[0]) % 8 for word in words]]
            places = [WORDS.index(word) if word in WORDS else 7 for word in words]
            own = np.eye(8, dtype=np.float32)[places]
            ends = starts + [len(word) for word in words]
            yield SentenceLayers(starts, ends, np.stack([letters, own]))


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    """A text is about "gold", or not; its label says so. "good" begins with the same letter."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        words = [WORDS[i] for i in random.permutation([0, 1, 3, 4, 5])[:3]]
        if number % 3 == 0:
            words[int(random.integers(3))] = "gold"
        made.append((" ".join([*words, f"x{number}{seed}"]), "1" if "gold" in words else "0"))
    return made


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("label\tfine\ttext\n" + "".join(f"{label}\tf{label}\t{text}\n" for text, label in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    test = texts(60, 3)
    folder = tmp_path / "gold"
    write(folder / "train.tsv", texts(120, 1) + test[:5])
    write(folder / "dev.tsv", texts(30, 2) + test[5:7])
    write(folder / "test.tsv", test)
    write(
        tmp_path / "typos" / "gold.all.tsv", [(text.replace("gold", "glod"), label) for text, label in test]
    )
    return folder


def test_a_set_tells_what_each_layer_knows_and_what_typing_errors_cost(folder: Path) -> None:
    probe_set = SentenceSet(
        "gold",
        ("accuracy", "macro_f1"),
        ("label", "fine"),
        noisy_folder="typos",
        noisy_kinds=("all",),
        max_train=100,
    )
    assert probe_set.metrics == ("accuracy", "macro_f1", "accuracy_fine", "macro_f1_fine")
    probed = probe_set.run(folder, Subject(FirstLetters(), num_threads=2))
    assert list(probed.rows) == ["most frequent label", "layer 0", "layer 1", "equal", "learned"]
    majority = probed.rows["most frequent label"]
    assert majority["accuracy"] == 2 / 3
    # Class 0: 40 of 60 said 60 times, 80 / 100; class 1: never.
    assert majority["macro_f1"] == pytest.approx(0.4)
    assert probed.rows["layer 1"]["accuracy"] == probed.rows["layer 1"]["accuracy_fine"] == 1
    assert probed.rows["layer 0"]["accuracy"] < 1
    # "glod" is an unknown word to layer 1, as x is: nothing says gold any more.
    assert probed.rows["layer 1"]["accuracy_all"] < 1
    assert probed.rows["layer 0"]["accuracy_all"] == probed.rows["layer 0"]["accuracy"]
    assert list(probed.learned) == ["label", "fine"]
    assert probed.details == {
        "num_train": 100,
        "num_dev": 30,
        "num_test": 60,
        "num_all": 60,
        "num_removed_from_train": 5,
        "num_removed_from_dev": 2,
        "num_texts_without_token": 0,
    }
    assert probe_set.run(folder, Subject(FirstLetters())).rows == probed.rows


def test_matthews_is_x_100_of_two_labels(folder: Path) -> None:
    probed = SentenceSet("gold", ("mcc",)).run(folder, Subject(FirstLetters()))
    assert probed.rows["layer 1"]["mcc"] == 1
    assert probed.rows["most frequent label"]["mcc"] == 0


def test_a_split_with_nothing_left_is_refused(folder: Path) -> None:
    (folder / "dev.tsv").write_text((folder / "test.tsv").read_text())
    with pytest.raises(ValueError, match="no sentence left in dev"):
        SentenceSet("gold").run(folder, Subject(FirstLetters()))

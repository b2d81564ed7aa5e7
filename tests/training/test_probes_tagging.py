from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from training.probes.readers.tagged import read_two_columns
from training.probes.source import SentenceLayers, Subject
from training.probes.tagging import TaggingSet

# "fish" is a noun after "the" and a verb elsewhere; every other word has one tag.
TAGS = {"the": "DET", "we": "PRON", "dogs": "NOUN", "eat": "VERB", "see": "VERB", "cats": "NOUN"}
WORDS = ["the", "we", "dogs", "eat", "see", "cats", "fish"]


class WordAndPrevious:
    """Words are tokens; layer 0 knows the word alone, layer 1 the word and the one before."""

    num_vector_layers = 2

    def sentence_layers(self, sentences: Sequence[str]) -> Iterator[SentenceLayers]:
        for sentence in sentences:
            words = sentence.split()
            starts = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
            own = np.eye(len(WORDS) + 1, dtype=np.float32)[[WORDS.index(word) for word in words]]
            before = np.concatenate([np.zeros_like(own[:1]), own[:-1]])
            before[0, -1] = 1
            nothing = np.zeros_like(own)
            yield SentenceLayers(
                starts,
                starts + [len(word) for word in words],
                np.stack([np.concatenate([own, nothing], axis=1), np.concatenate([own, before], axis=1)]),
            )


def sentences(count: int, seed: int) -> list[list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        words = [WORDS[i] for i in random.integers(0, len(WORDS), size=6)]
        before = ["", *words[:-1]]
        tags = [TAGS.get(w, "NOUN" if b == "the" else "VERB") for w, b in zip(words, before, strict=True)]
        made.append(list(zip(words, tags, strict=True)))
    return made


def write_conllu(path: Path, made: list[list[tuple[str, str]]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        for sentence in made:
            for number, (word, tag) in enumerate(sentence, start=1):
                file.write("\t".join([str(number), word, "_", tag, *"______"]) + "\n")
            file.write("\n")


def test_a_set_tells_what_context_adds(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    train, dev, test = sentences(120, 1), sentences(20, 2), sentences(40, 3)
    write_conllu(folder / "train.conllu", train + test[:7])
    write_conllu(folder / "dev.conllu", dev + test[:2])
    write_conllu(folder / "test.conllu", test)
    probe_set = TaggingSet("small", max_train_words=600, max_dev_words=100)
    probed = probe_set.run(folder, Subject(WordAndPrevious(), num_threads=2))

    words = [pair for sentence in test for pair in sentence]
    verbs = sum(tag == "VERB" for word, tag in words if word == "fish")
    nouns = sum(tag == "NOUN" for word, tag in words if word == "fish")
    assert verbs > nouns > 0
    # Without context the best answer for "fish" is the verb; everything else is plain.
    assert probed.rows["layer 0"]["accuracy"] == pytest.approx(1 - nouns / len(words))
    assert list(probed.rows) == ["layer 0", "layer 1", "equal", "learned"]
    assert probed.rows["layer 1"]["accuracy"] >= probed.rows["layer 0"]["accuracy"]
    assert probed.details == {
        "num_removed_from_train": 7,
        "num_removed_from_dev": 2,
        "num_train_sentences": 100,
        "num_train_words": 600,
        "num_dev_sentences": 16,
        "num_dev_words": 96,
        "num_test_sentences": 40,
        "num_test_words": 240,
        "num_uncovered_spans": 0,
    }
    against = probed.against_layer
    assert against is not None
    best = max(probed.rows[layer]["accuracy"] for layer in ("layer 0", "layer 1"))
    assert against.difference == probed.rows["learned"]["accuracy"] - best
    assert against.low <= against.difference <= against.high
    again = probe_set.run(folder, Subject(WordAndPrevious()))
    assert again.rows == probed.rows


def write_columns(path: Path, made: list[list[tuple[str, str]]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in made))


def test_names_are_scored_by_their_spans(tmp_path: Path) -> None:
    # "the" and what follows it are a name, which takes the word before to tell.
    folder = tmp_path / "names"
    for split, count, seed in (("train", 120, 1), ("dev", 20, 2), ("test", 40, 3)):
        made = []
        for sentence in sentences(count, seed):
            words = [word for word, _ in sentence]
            before = ["", *words[:-1]]
            tags = [
                "B-x" if w == "the" else "I-x" if b == "the" else "O"
                for w, b in zip(words, before, strict=True)
            ]
            made.append(list(zip(words, tags, strict=True)))
        write_columns(folder / f"{split}.conll", made)
    probe_set = TaggingSet("names", "span_f1", "conll", read_two_columns)
    rows = probe_set.run(folder, Subject(WordAndPrevious())).rows
    assert rows["layer 1"]["span_f1"] == 1
    assert rows["layer 1"]["span_f1_low"] == 1
    assert rows["layer 0"]["span_f1"] < 0.5


def test_a_split_with_nothing_left_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "same"
    for split in ("train", "dev", "test"):
        write_conllu(folder / f"{split}.conllu", sentences(3, 1))
    with pytest.raises(ValueError, match="no sentence left in train"):
        TaggingSet("same").run(folder, Subject(WordAndPrevious()))

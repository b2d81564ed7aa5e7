"""The floor of tagging: a word's commonest tag, and for a word that training never saw, its ending's."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from training.probes.readers.tagged import TaggedSentence
from training.probes.selection import check_not_empty, in_stable_order, up_to_words
from training.probes.tagging import TaggingSet

LONGEST_ENDING = 5


class CommonestTags:
    """Of equally common tags, the first in training."""

    def __init__(self, sentences: Sequence[TaggedSentence]) -> None:
        self._of_word: dict[str, Counter[str]] = defaultdict(Counter)
        # "" is the ending of every word.
        self._of_ending: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in sentences:
            for word, tag in zip(sentence.words, sentence.tags, strict=True):
                self._of_word[word][tag] += 1
                for length in range(min(LONGEST_ENDING, len(word)) + 1):
                    self._of_ending[word[len(word) - length :]][tag] += 1

    def __call__(self, word: str) -> str:
        if word in self._of_word:
            return self._of_word[word].most_common(1)[0][0]
        lengths = range(min(LONGEST_ENDING, len(word)), -1, -1)
        ending = next(word[len(word) - n :] for n in lengths if word[len(word) - n :] in self._of_ending)
        return self._of_ending[ending].most_common(1)[0][0]


def probe_tags(probe_set: TaggingSet, folder: Path) -> dict[str, float]:
    """Accuracy on the test words, of the training words that the probes take.

    Raises ValueError when a file is malformed, or a split is left empty.
    """
    train, _, test = (probe_set.read(path) for path in probe_set.files(folder))
    in_test = {sentence.words for sentence in test}
    kept = up_to_words(
        in_stable_order((s for s in train if s.words not in in_test), lambda s: s.text),
        probe_set.max_train_words,
    )
    check_not_empty(folder, {"train": kept, "test": test})
    tag_of = CommonestTags(kept)
    right = [
        tag_of(word) == tag
        for sentence in test
        for word, tag in zip(sentence.words, sentence.tags, strict=True)
    ]
    return {"accuracy": sum(right) / len(right)}

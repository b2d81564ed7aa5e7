"""Which part of a set is taken, and what a result on disk is of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from training.probes.readers.tagged import TaggedSentence

Example = TypeVar("Example")


def in_stable_order(examples: Iterable[Example], text_of: Callable[[Example], str]) -> list[Example]:
    """Shuffle by a hash of the text: corpora are ordered by source, and their beginning is one source.

    The order depends on the texts alone, not on a generator that may change between versions.
    """
    return sorted(examples, key=lambda example: hashlib.sha256(text_of(example).encode()).digest())


def up_to_words(sentences: Iterable[TaggedSentence], max_words: int) -> list[TaggedSentence]:
    """The first sentences, whole, as long as their words together stay within max_words."""
    kept = []
    num_words = 0
    for sentence in sentences:
        num_words += len(sentence.words)
        if num_words > max_words:
            break
        kept.append(sentence)
    return kept


def check_not_empty(folder: Path, splits: Mapping[str, Sequence[object]]) -> None:
    """Raise ValueError naming a split of which nothing is left."""
    for split, examples in splits.items():
        if not examples:
            raise ValueError(f"{folder}: no sentence left in {split}")


def sha256_of_files(paths: Iterable[Path]) -> str:
    """One hash over names and contents, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

"""Sentences with WordNet sense keys.

A sense key, such as bank%1:14:00::, names lemma and kind of word (1 noun, 2 verb, 3 and 5 adjective,
4 adverb): https://wordnet.princeton.edu/documentation/senseidx5wn
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.marked import Span, join_tokens
from training.probes.readers.rows import json_rows

_SATELLITE, _ADJECTIVE = "5", "3"


@dataclass(frozen=True, slots=True)
class Instance:
    """A word of a sentence: its lemma and kind, and the sense keys that are right."""

    word: str  # lemma%kind, such as bank%1
    span: Span
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AnnotatedSentence:
    text: str
    instances: tuple[Instance, ...]


def read_annotated(path: Path) -> list[AnnotatedSentence]:
    """Objects with tokens and ann: [token, lemma, kind, sense keys, ...]. A token's _ are read as spaces.

    Raises ValueError, naming file and line.
    """
    sentences = []
    for where, row in json_rows(path, {"tokens": list, "ann": list}):
        text, spans = join_tokens([_spaced(token) for token in row["tokens"]])
        instances = []
        for annotation in row["ann"]:
            if not (isinstance(annotation, list) and len(annotation) >= 4 and annotation[3]):
                raise ValueError(f"{where}: ann: expected [token, lemma, kind, [keys]], got {annotation!r}")
            index, keys = annotation[0], tuple(annotation[3])
            if not (isinstance(index, int) and 0 <= index < len(spans)):
                raise ValueError(f"{where}: ann: token {index!r} is outside the {len(spans)} tokens")
            instances.append(Instance(word_of_key(where, keys[0]), spans[index], keys))
        sentences.append(AnnotatedSentence(text, tuple(instances)))
    return sentences


def word_of_key(where: str, key: str) -> str:
    """lemma%kind of a sense key; satellites are adjectives. Raises ValueError, naming `where`."""
    lemma, separator, rest = key.partition("%")
    if not (lemma and separator and rest[:1] in {"1", "2", "3", "4", "5"}):
        raise ValueError(f"{where}: expected a sense key such as bank%1:14:00::, got {key!r}")
    return f"{lemma}%{_ADJECTIVE if rest[0] == _SATELLITE else rest[0]}"


def _spaced(token: str) -> str:
    return token.replace("_", " ") if len(token) > 1 else token

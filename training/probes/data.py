"""Read the evaluation sets: JSON lines with a marked word, and CoNLL-U.

CoNLL-U: https://universaldependencies.org/format.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class SenseExample:
    """A word marked in a sentence, `sentence[start:end]` in code points, and its sense."""

    word: str
    sense: str
    sentence: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A text, its words' spans in code points, and one tag per word."""

    text: str
    words: tuple[str, ...]
    spans: tuple[Span, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Word:
    form: str
    tag: str
    space_after: bool
    surface: int  # index of the surface string (a multiword token has one for several words)


def read_senses(path: Path) -> list[SenseExample]:
    """Raises ValueError, naming file and line, for a malformed example or a span outside its sentence."""
    examples = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            row = json.loads(line)
            example = SenseExample(
                str(row["word"]), str(row["sense"]), str(row["sentence"]), int(row["start"]), int(row["end"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number}: expected an object with word, sense, sentence, start, end: {error!r}"
            ) from error
        if not 0 <= example.start < example.end <= len(example.sentence):
            raise ValueError(
                f"{path}:{number}: span {example.start}..{example.end} is outside the sentence "
                f"of {len(example.sentence)} code points"
            )
        examples.append(example)
    return examples


def read_conllu(path: Path) -> list[TaggedSentence]:
    """Words with their UPOS; spans into the `# text` comment where the words fit it.

    Without such a comment, or when the words do not fit it, the text is the words joined by spaces, by
    nothing after SpaceAfter=No. Empty nodes (8.1) are no words.
    Raises ValueError, naming file and line, for a malformed line.
    """
    return list(_sentences(path))


def _sentences(path: Path) -> Iterator[TaggedSentence]:
    text: str | None = None
    words: list[_Word] = []
    surfaces: list[str] = []
    last_of_multiword = 0
    for number, line in enumerate([*_lines(path), ""], start=1):
        if not line:
            if words:
                yield _align(text, words, surfaces)
            text, words, surfaces, last_of_multiword = None, [], [], 0
        elif line.startswith("#"):
            key, _, value = line[1:].partition("=")
            if key.strip() == "text":
                text = value.strip()
        else:
            columns = line.split("\t")
            if len(columns) != 10:
                raise ValueError(f"{path}:{number}: expected 10 tab-separated columns, found {len(columns)}")
            identifier, form, tag, misc = columns[0], columns[1], columns[3], columns[9]
            space_after = "SpaceAfter=No" not in misc.split("|")
            if "." in identifier:
                continue
            if "-" in identifier:
                last_of_multiword = int(identifier.partition("-")[2])
                surfaces.append(form)
                surface_space = space_after
                continue
            if not identifier.isdigit():
                raise ValueError(f"{path}:{number}: expected a word number, found {identifier!r}")
            if int(identifier) > last_of_multiword:
                surfaces.append(form)
                surface_space = space_after
            words.append(_Word(form, tag, surface_space, len(surfaces) - 1))


def _align(text: str | None, words: list[_Word], surfaces: list[str]) -> TaggedSentence:
    spans = None if text is None else _find_in_order(text, surfaces, 0, len(text))
    if text is None or spans is None:
        text, spans = _join(words, surfaces)
    word_spans: list[Span] = []
    for index, (start, end) in enumerate(spans):
        parts = [word.form for word in words if word.surface == index]
        # "dont" = "do" + "nt" splits; "zum" = "zu" + "dem" does not, and both words get the whole.
        word_spans += _find_in_order(text, parts, start, end) or [(start, end)] * len(parts)
    return TaggedSentence(
        text, tuple(word.form for word in words), tuple(word_spans), tuple(word.tag for word in words)
    )


def _find_in_order(text: str, forms: Sequence[str], start: int, end: int) -> list[Span] | None:
    """Spans of `forms` when text[start:end] is exactly them with white space between, else None."""
    spans = []
    at = start
    for form in forms:
        while at < end and text[at].isspace():
            at += 1
        if not text.startswith(form, at, end):
            return None
        spans.append((at, at + len(form)))
        at += len(form)
    return spans if not text[at:end].strip() else None


def _join(words: list[_Word], surfaces: list[str]) -> tuple[str, list[Span]]:
    space_after = {word.surface: word.space_after for word in words}
    text = ""
    spans = []
    for index, surface in enumerate(surfaces):
        spans.append((len(text), len(text) + len(surface)))
        text += surface + (" " if space_after[index] else "")
    return text.rstrip(" "), spans


def _lines(path: Path) -> Iterator[str]:
    # Not splitlines(): sentences may hold U+2028 and its like.
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\r\n")


def in_stable_order(sentences: Iterable[TaggedSentence]) -> list[TaggedSentence]:
    """Shuffle by a hash of the text: corpora are ordered by source, and their beginning is one source.

    The order depends on the texts alone, not on a generator that may change between versions.
    """
    return sorted(sentences, key=lambda sentence: hashlib.sha256(sentence.text.encode()).digest())


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


def sha256_of_files(paths: Iterable[Path]) -> str:
    """One hash over names and contents, in the given order."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

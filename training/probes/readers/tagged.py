"""Words with a tag each: CoNLL-U (https://universaldependencies.org/format.html), and two columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.probes.readers.marked import Span, join_tokens
from training.probes.readers.rows import lines


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


def read_conllu(path: Path) -> list[TaggedSentence]:
    """Words with their UPOS; spans into the `# text` comment where the words fit it.

    Without such a comment, or when the words do not fit it, the text is the words joined by spaces, by
    nothing after SpaceAfter=No. Empty nodes (8.1) are no words.
    Raises ValueError, naming file and line, for a malformed line.
    """
    return list(_sentences(path))


def read_two_columns(path: Path) -> list[TaggedSentence]:
    """A word, a tab and its tag a line, an empty line after a sentence; its text is the words and spaces.

    Raises ValueError, naming file and line, for a malformed line.
    """
    sentences: list[TaggedSentence] = []
    words: list[str] = []
    tags: list[str] = []
    for where, line in [*lines(path), ("", "")]:
        if line.strip():
            word, separator, tag = line.partition("\t")
            if not (word and separator and tag) or "\t" in tag:
                raise ValueError(f"{where}: expected a word, a tab and a tag, got {line[:40]!r}")
            words.append(word)
            tags.append(tag)
        elif words:
            text, spans = join_tokens(words)
            sentences.append(TaggedSentence(text, tuple(words), tuple(spans), tuple(tags)))
            words, tags = [], []
    return sentences


def _sentences(path: Path) -> Iterator[TaggedSentence]:
    text: str | None = None
    words: list[_Word] = []
    surfaces: list[str] = []
    last_of_multiword = 0
    for where, line in [*lines(path), ("", "")]:
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
                raise ValueError(f"{where}: expected 10 tab-separated columns, found {len(columns)}")
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
                raise ValueError(f"{where}: expected a word number, found {identifier!r}")
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

"""Files -> named texts, each a list of lines that are read alone.

A line's end is predicted as a word is, and counts as a word and as a character.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby
from pathlib import Path

from training.corpus import check_texts, read_lines
from training.perplexity.detokenize import treebank_line, wikitext_line, words_of_unknown

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Line:
    """num_words: its end counted; unknown: spans of the words that the publisher has masked."""

    text: str
    num_words: int
    unknown: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """parts: the lines of each source.

    num_blank_lines: which are not read, and whose ends the publisher counts as words all the same.
    """

    name: str
    treatment: str
    lines: list[Line]
    parts: Mapping[str, range] = field(default_factory=dict)
    num_blank_lines: int = 0


AS_IT_STANDS = "as it stands, a paragraph a line; words are separated by white space"
WIKITEXT = (
    "detokenised, case and `<unk>` kept; words and line ends counted as published, those of blank lines too, "
    "which are not read"
)
TREEBANK = "detokenised: contractions and amounts joined; `<unk>` and `N` kept; words counted as published"


def read_texts(
    files: Sequence[Path],
    sources: Path | None = None,
    *,
    wikitext_file: Path | None = None,
    ptb_file: Path | None = None,
) -> list[Text]:
    """Return every file as a text, those of published test sets last.

    sources: as `read_blocks`. Raises ValueError for a file without text, sources that do not fit, or no file.
    """
    blocks = read_blocks(sources) if sources is not None else {}
    texts = [plain_text(path, blocks.get(path.name)) for path in check_texts(files)]
    texts += [wikitext(wikitext_file)] if wikitext_file is not None else []
    texts += [treebank(ptb_file)] if ptb_file is not None else []
    if not texts:
        raise ValueError("expected a text to measure on: FILE, --wikitext or --ptb")
    return texts


def plain_text(path: Path, blocks: Mapping[str, int] | None = None) -> Text:
    """blocks: so many documents of each source, in the file's order.

    Raises ValueError when there are more or fewer documents.
    """
    documents = [list(lines) for is_text, lines in groupby(read_lines(path), key=bool) if is_text]
    if blocks is not None and sum(blocks.values()) != len(documents):
        raise ValueError(
            f"{path}: expected {sum(blocks.values())} documents, as its sources have, found {len(documents)}"
        )
    lines = [Line(line, len(line.split()) + 1) for line in chain.from_iterable(documents)]
    line_starts = [0, *accumulate(map(len, documents))]
    parts: dict[str, range] = {}
    first = 0
    for source, num_documents in (blocks or {}).items():
        parts[source] = range(line_starts[first], line_starts[first + num_documents])
        first += num_documents
    return Text(path.name, AS_IT_STANDS, lines, parts)


def wikitext(path: Path) -> Text:
    """WikiText's word-level test file, such as wikitext-2.test.tokens.txt."""
    return _published(path, wikitext_line, WIKITEXT)


def treebank(path: Path) -> Text:
    """Penn Treebank's test file in Mikolov's form, such as ptb.test.txt."""
    return _published(path, treebank_line, TREEBANK)


def read_blocks(path: Path) -> dict[str, dict[str, int]]:
    """Read which sources' documents stand in a file: a table a file name, `source = number` in their order.

    Raises ValueError for anything else.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    for name, blocks in document.items():
        if not isinstance(blocks, dict) or not all(type(n) is int and n > 0 for n in blocks.values()):
            raise ValueError(f"{path}: {name}: expected a table of numbers of documents, by source")
    return document


def _published(path: Path, detokenize: Callable[[str], str], treatment: str) -> Text:
    check_texts([path])
    raw = list(read_lines(path))
    lines = []
    for words in filter(None, raw):
        text = detokenize(words)
        lines.append(Line(text, len(words.split()) + 1, tuple(words_of_unknown(text))))
    return Text(path.name, treatment, lines, num_blank_lines=raw.count(""))

"""A sentence becomes words, for a model that reads whole words: the published ELMo checkpoints.

They were trained on text that others had split, each in its own way, so the tokens of a string come from one
plain rule (and a list of words is taken as it stands):

- A word is a run of letters, marks, numbers and underscores. Between two of these an apostrophe, a hyphen or
  a full stop belongs to it, a comma between two digits, and format characters such as the soft hyphen:
  "don't", "well-known", "U.S", "1,204.50".
- Any other character but white space is a symbol, and a token by itself, with the marks and skin tones after
  it and what a zero-width joiner ties to it. A run of the same symbol is one token ("...", "--"), and so is
  a flag.
- White space, control and format characters, the zero-width space too, belong to no token.

Nothing is normalised, and `text[start:end]` is the token. Scripts without spaces (Chinese, Japanese, Thai)
are not split into words: send lists of words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from unicodedata import category

from model.tokenizer import UNKNOWN_ID, Tokenized

_ZERO_WIDTH_SPACE = 0x200B
PLANES = (range(0x20000), range(0xE0000, 0xF0000))
"""All of Unicode that has marks, format or control characters."""

_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_SKIN_TONES_AND_TAGS = "\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f"


class WordTokenizer:
    """Safe to call from several threads."""

    def __init__(self, max_characters: int) -> None:
        """max_characters: of a word, that the network reads at most. The surface of a longer one ends there:
        words that differ only after it are one, and none is large to keep."""
        self._max_characters = max_characters
        self._token = _token_pattern()

    def pieces(self) -> list[str]:
        """Return the vocabulary: none, words are not numbered."""
        return []

    def tokenize(self, text: str) -> Tokenized:
        """Return the words of a string; there may be none."""
        tokenized = Tokenized([], [], [], [], None, [])
        for match in self._token.finditer(text):
            self._append(tokenized, match.group(), match.start())
        return tokenized

    def tokenize_words(self, words: Sequence[str]) -> Tokenized:
        """Return a token for each word, which is read as it stands. Raises ValueError for an empty one."""
        tokenized = Tokenized([], [], [], [], list(range(len(words))), [])
        for index, word in enumerate(words):
            if not word:
                raise ValueError(f"word {index} is empty")
            self._append(tokenized, word, 0)
        return tokenized

    def _append(self, tokenized: Tokenized, word: str, start: int) -> None:
        tokenized.append(word[: self._max_characters], UNKNOWN_ID, start, start + len(word))


@cache
def _token_pattern() -> re.Pattern[str]:
    r"""`\w` has letters, numbers and the underscore, but no marks; `re` knows no categories."""
    marks, formats, controls = _character_classes()
    word = rf"[\w{marks}]+"
    joint = rf"(?:['’.\-‐‑]|[{formats}]+|(?<=\d),(?=\d))"
    symbol = rf"[^\w\s{marks}{formats}{controls}{chr(_ZERO_WIDTH_SPACE)}]"
    modified = rf"[{marks}{_SKIN_TONES_AND_TAGS}]*"
    return re.compile(
        rf"{word}(?:{joint}{word})*"
        rf"|{_FLAG}"
        rf"|({symbol})(?:\1+|{modified}(?:\u200d{symbol}{modified})*)"
    )


def _character_classes() -> tuple[str, str, str]:
    """Return all marks, all format characters but the zero-width space, and all control characters, as
    ranges for a regular expression."""
    classes: tuple[list[str], list[str], list[str]] = ([], [], [])
    kind_of = {"Mn": 0, "Mc": 0, "Me": 0, "Cf": 1, "Cc": 2}

    def kind(code: int) -> int | None:
        return None if code == _ZERO_WIDTH_SPACE else kind_of.get(category(chr(code)))

    for plane in PLANES:
        for found, run in groupby(plane, kind):
            if found is not None:
                codes = list(run)
                classes[found].append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    marks, formats, controls = map("".join, classes)
    return marks, formats, controls

"""Characters: the only place that turns a token's surface into character ids.

Ids: 0 padding, 1 begin of token, 2 end of token, 3 sentence boundary, 4 to 259 the 256 bytes of UTF-8,
260 and up the listed characters. A character that is not listed is spelled by its bytes, so no input is out
of vocabulary.

Two kinds of alphabet. `bytes` lists nothing (ELMo's choice, Peters et al. 2018, arXiv:1802.05365).
`jamo` spells every Hangul syllable by its two or three conjoining jamo, which are always listed with the
word-start mark, and lists the frequent characters of the training text beside them: one Hangul syllable is
three bytes of which the last two mean nothing alone, while its jamo are its sounds.

Shape letters: N tokens, C characters of the longest token in the call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

PADDING, BEGIN, END, BOUNDARY = 0, 1, 2, 3
FIRST_BYTE = 4
FIRST_LISTED = FIRST_BYTE + 256

WORD_START = "\u2581"
"""SentencePiece's mark for the space before a word."""

# Hangul syllables in Unicode: U+AC00 + (lead * 21 + vowel) * 28 + tail (The Unicode Standard, section 3.12).
SYLLABLE_BASE, NUM_SYLLABLES = 0xAC00, 11172
LEAD_BASE, VOWEL_BASE, TAIL_BASE = 0x1100, 0x1161, 0x11A7
NUM_LEADS, NUM_VOWELS, NUM_TAILS = 19, 21, 28

JAMO = (
    [chr(LEAD_BASE + i) for i in range(NUM_LEADS)]
    + [chr(VOWEL_BASE + i) for i in range(NUM_VOWELS)]
    + [chr(TAIL_BASE + i) for i in range(1, NUM_TAILS)]
)


def decompose(character: str) -> str:
    """Return the conjoining jamo of a Hangul syllable; any other character unchanged."""
    index = ord(character) - SYLLABLE_BASE
    if not 0 <= index < NUM_SYLLABLES:
        return character
    lead, rest = divmod(index, NUM_VOWELS * NUM_TAILS)
    vowel, tail = divmod(rest, NUM_TAILS)
    jamo = chr(LEAD_BASE + lead) + chr(VOWEL_BASE + vowel)
    return jamo + chr(TAIL_BASE + tail) if tail else jamo


class Alphabet:
    """The characters that a model knows by name, and the spelling of all others."""

    def __init__(self, kind: str, listed: Sequence[str] = ()) -> None:
        """kind: "bytes" or "jamo"; listed: further characters of a "jamo" alphabet, most frequent first."""
        if kind not in ("bytes", "jamo"):
            raise ValueError(f'alphabet: expected "bytes" or "jamo", got {kind!r}')
        if kind == "bytes" and listed:
            raise ValueError(f'alphabet "bytes" lists no characters, got {len(listed)}')
        wrong = [c for c in listed if not isinstance(c, str) or len(c) != 1]
        if wrong:
            raise ValueError(f"alphabet: expected single characters, got {wrong[0]!r}")
        self.kind = kind
        self.listed = list(dict.fromkeys(listed))
        always = [WORD_START, *JAMO] if kind == "jamo" else []
        spelled = [*always, *(c for c in self.listed if c not in always)]
        self._listed_ids = {c: FIRST_LISTED + i for i, c in enumerate(spelled)}
        self._spellings: dict[str, tuple[int, ...]] = {}

    @property
    def num_characters(self) -> int:
        """Rows of the character table, padding included."""
        return FIRST_LISTED + len(self._listed_ids)

    def _spell(self, character: str) -> tuple[int, ...]:
        ids = self._spellings.get(character)
        if ids is None:
            parts = decompose(character) if self.kind == "jamo" else character
            ids = tuple(i for part in parts for i in self._part_ids(part))
            self._spellings[character] = ids  # at most one entry for each code point
        return ids

    def _part_ids(self, part: str) -> list[int]:
        listed = self._listed_ids.get(part)
        return [listed] if listed is not None else [FIRST_BYTE + byte for byte in part.encode("utf-8")]

    def encode(self, surfaces: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return int32 (N, C): begin, the characters of the surface, end, then padding; C fits the longest.

        Raises UnicodeEncodeError (a ValueError) for a lone surrogate.
        """
        rows = [[BEGIN, *(i for c in surface for i in self._spell(c)), END] for surface in surfaces]
        char_ids_NC = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=np.int32)
        for n, row in enumerate(rows):
            char_ids_NC[n, : len(row)] = row
        return char_ids_NC

    def boundary_row(self) -> npt.NDArray[np.int32]:
        """Return int32 (3,): the characters of the sentence boundary, which no text can spell."""
        return np.array([BEGIN, BOUNDARY, END], dtype=np.int32)

    def boundary_rows(self) -> npt.NDArray[np.int32]:
        """Return int32 (2, 3): before a sentence's first token and after its last, the same."""
        return np.stack([self.boundary_row()] * 2)

    def save(self, path: Path) -> None:
        document = {"kind": self.kind, "characters": self.listed}
        path.write_text(json.dumps(document, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Alphabet:
        """Raises ValueError naming the file when it is not what `save` writes."""
        try:
            document: Any = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(document, dict) or set(document) != {"kind", "characters"}:
                raise ValueError('expected an object with "kind" and "characters"')
            if not isinstance(document["characters"], list):
                raise ValueError(f'"characters": expected a list, got {document["characters"]!r}')
            return cls(document["kind"], document["characters"])
        except (ValueError, RecursionError) as error:  # brackets without end too
            raise ValueError(f"{path.name}: {error}") from error

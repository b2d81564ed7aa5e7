"""Words -> character ids as the published ELMo checkpoints were trained on them: rows of exactly M ids.

Every position of a row counts, padding too, whose vector was trained; id 0 stands for no token alone. A word
that is too long is cut, which is part of both formats. What surrounds a sentence has rows of its own, which
no word can have: a user's "<S>" or "<bos>" is spelled like any other word, where the original programs took
it for the boundary.

Shape letters: N words, M characters of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int32]

NUM_MARKS = 2
"""Ids of a row that are not the word's own: the marks at its beginning and end."""

BYTES_KIND, CODE_POINTS_KIND = "elmo_bytes", "elmo_code_points"
"""In characters.json."""


class ByteRows:
    """UTF-8 bytes, as bilm-tf and AllenNLP read them.

    Ids: 1 to 256 the bytes, 257 and 258 the beginning and end of a sentence, 259 and 260 of a word, 261
    padding within a row. A word is cut to M - 2 bytes, even inside a character.
    Source: bilm-tf, `UnicodeCharsVocabulary`, all ids one higher.
    """

    SENTENCE_BEGIN, SENTENCE_END, WORD_BEGIN, WORD_END, PADDING = 257, 258, 259, 260, 261
    num_characters = 262

    def __init__(self, max_characters: int) -> None:
        """max_characters: M, at least 3. Raises ValueError when it is less."""
        _check_max_characters(max_characters)
        self.max_characters = max_characters

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N, M). Raises UnicodeEncodeError (a ValueError) for a lone surrogate."""
        longest = self.max_characters - NUM_MARKS
        bodies = [surface.encode("utf-8")[:longest] for surface in surfaces]
        return self._rows([np.frombuffer(body, dtype=np.uint8) + np.int32(1) for body in bodies])

    def boundary_rows(self) -> Integers:
        """Return int32 (2, M): before a sentence's first word, and after its last."""
        return self._rows([np.array([self.SENTENCE_BEGIN]), np.array([self.SENTENCE_END])])

    def _rows(self, bodies: Sequence[npt.NDArray[np.integer]]) -> Integers:
        rows_NM = np.full((len(bodies), self.max_characters), self.PADDING, dtype=np.int32)
        rows_NM[:, 0] = self.WORD_BEGIN
        for row_M, body in zip(rows_NM, bodies, strict=True):
            row_M[1 : 1 + len(body)] = body
            row_M[1 + len(body)] = self.WORD_END
        return rows_NM

    def to_document(self) -> dict[str, object]:
        """Return what characters.json holds."""
        return {"kind": BYTES_KIND, "max_characters": self.max_characters}


class CodePointRows:
    """Listed Unicode characters, as ELMoForManyLangs reads them; ids are places in the list, counted from 1.

    A word is cut to M - 2 code points; one that is not listed is `<oov>`. The row begins with the id of
    `<eow>` and ends with that of `<bow>`: they were swapped in training too.
    Source: ELMoForManyLangs, `create_one_batch`.
    """

    NAMES = ("<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>")

    def __init__(self, characters: Sequence[str], max_characters: int) -> None:
        """characters: in the order of their ids, the six names among them.

        Raises ValueError when a name is missing, another entry is no single character, or one stands twice.
        """
        _check_max_characters(max_characters)
        self.max_characters = max_characters
        self.characters = list(characters)
        ids = {character: i for i, character in enumerate(characters, start=1)}
        if missing := [name for name in self.NAMES if name not in ids]:
            raise ValueError(f"characters: expected {' '.join(self.NAMES)} among them, found no {missing[0]}")
        if wrong := [c for c in ids if len(c) != 1 and c not in self.NAMES]:
            raise ValueError(f"characters: expected single characters, found {wrong[0]!r}")
        if len(ids) < len(characters):
            twice = next(c for i, c in enumerate(characters, start=1) if ids[c] != i)
            raise ValueError(f"characters: expected each once, found {twice!r} again")
        self._begin, self._end, self._oov, self._padding = (
            ids[name] for name in ("<eow>", "<bow>", "<oov>", "<pad>")
        )
        self._boundaries = [[ids["<bos>"]], [ids["<eos>"]]]
        self._ids = ids

    @property
    def num_characters(self) -> int:
        """Rows of the character table, the one of id 0 included."""
        return len(self.characters) + 1

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N, M)."""
        longest = self.max_characters - NUM_MARKS
        return self._rows([[self._ids.get(c, self._oov) for c in surface[:longest]] for surface in surfaces])

    def boundary_rows(self) -> Integers:
        """Return int32 (2, M): before a sentence's first word, and after its last."""
        return self._rows(self._boundaries)

    def _rows(self, bodies: Sequence[Sequence[int]]) -> Integers:
        rows_NM = np.full((len(bodies), self.max_characters), self._padding, dtype=np.int32)
        rows_NM[:, 0] = self._begin
        for row_M, body in zip(rows_NM, bodies, strict=True):
            row_M[1 : 2 + len(body)] = [*body, self._end]
        return rows_NM

    def to_document(self) -> dict[str, object]:
        """Return what characters.json holds."""
        return {
            "kind": CODE_POINTS_KIND,
            "max_characters": self.max_characters,
            "characters": self.characters,
        }


class WordIds:
    """Words that have a vector of their own, as ELMoForManyLangs lists them; ids are places in the list.

    Any other word, and the names of the list that are no words, is `<oov>`. Case counts.
    """

    NAMES = ("<oov>", "<bos>", "<eos>", "<pad>")

    def __init__(self, words: Sequence[str]) -> None:
        """words: in the order of their ids, the four names among them. Raises ValueError when one of these is
        missing or a word stands twice."""
        self.words = list(words)
        ids = {word: i for i, word in enumerate(words)}
        if missing := [name for name in self.NAMES if name not in ids]:
            raise ValueError(f"words: expected {' '.join(self.NAMES)} among them, found no {missing[0]}")
        if len(ids) < len(words):
            twice = next(word for i, word in enumerate(words) if ids[word] != i)
            raise ValueError(f"words: expected each once, found {twice!r} again")
        self._oov = ids["<oov>"]
        self._boundaries = [ids["<bos>"], ids["<eos>"]]
        self._ids = {word: i for word, i in ids.items() if word not in self.NAMES}

    @property
    def num_words(self) -> int:
        return len(self.words)

    def encode(self, surfaces: Sequence[str]) -> Integers:
        """Return int32 (N,). A long word is looked up as it is cut for the characters."""
        return np.array([self._ids.get(surface, self._oov) for surface in surfaces], dtype=np.int32)

    def boundary_ids(self) -> Integers:
        """Return int32 (2,): before a sentence's first word, and after its last."""
        return np.array(self._boundaries, dtype=np.int32)


def _check_max_characters(max_characters: int) -> None:
    if max_characters <= NUM_MARKS:
        raise ValueError(
            f"max_characters: expected at least {NUM_MARKS + 1}, two of which are marks, got {max_characters}"
        )

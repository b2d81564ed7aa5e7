"""A sentence becomes tokens with exact offsets into the text as it was written.

A token is a SentencePiece piece (unigram language model, Kudo 2018, arXiv:1804.10959). SentencePiece
normalises the text (NFKC, white space) but remembers which code points each piece came from; here the space
before a word is trimmed off, so `text[start:end]` is the token as the user wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from model.characters import WORD_START

UNKNOWN_ID, BOUNDARY_ID = 0, 1
"""Vocabulary ids: a piece that SentencePiece does not know, and the symbol for both ends of a sentence."""

MAX_UNKNOWN_CHARACTERS = 16
"""SentencePiece joins neighbouring unknown characters without limit. They are cut into tokens as long as its
longest known piece, so that no token is larger than the character CNN was trained on."""


# fmt: off
NOT_READ = "".join(map(chr, (
    *range(0x01, 0x21), 0x7F, 0x8F, 0x9F, 0xA0, 0x061C, 0x1680, *range(0x2000, 0x200D), 0x200E, 0x200F,
    0x2028, 0x2029, 0x202F, 0x205F, 0x2581, 0x3000, 0xFEFF, 0xFFFD,
)))
# fmt: on
"""Characters that SentencePiece's normalisation (nmt_nfkc) reads as a space or drops: white space, control
characters, zero-width and directional marks. U+0085, white space to Python, is read as a character."""

_NOT_READ = frozenset(NOT_READ)


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One sentence in the order the network reads it, the boundaries at its ends not included.

    Two tokens may share a span: NFKC makes several characters of one (㈜ becomes "(주)").
    """

    surfaces: list[str]  # what the character CNN reads, with the word-start mark: "▁bank"
    ids: list[int]  # in the vocabulary
    starts: list[int]  # code points into the text, or into the token's word when `words` is given
    ends: list[int]
    words: list[int] | None  # for a list of words: the index of each token's word
    visible: list[bool]  # False: white space alone; the network reads it, but it is no token of a reply

    def __len__(self) -> int:
        return len(self.ids)

    def append(self, surface: str, token_id: int, start: int, end: int, *, visible: bool = True) -> None:
        self.surfaces.append(surface)
        self.ids.append(token_id)
        self.starts.append(start)
        self.ends.append(end)
        self.visible.append(visible)


class SentencePieceTokenizer:
    """Safe to call from several threads."""

    def __init__(self, model_path: Path) -> None:
        """Raise ValueError when the file is no SentencePiece model with our ids for unknown and boundary."""
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.load_from_serialized_proto(model_path.read_bytes())
        except RuntimeError as error:
            raise ValueError(f"{model_path.name}: not a SentencePiece model") from error
        ids = (self._processor.unk_id(), self._processor.bos_id())
        if ids != (UNKNOWN_ID, BOUNDARY_ID):
            raise ValueError(
                f"{model_path.name}: expected the ids {UNKNOWN_ID} for unknown and {BOUNDARY_ID} for the "
                f"boundary, got {ids[0]} and {ids[1]}"
            )

    @property
    def vocabulary_size(self) -> int:
        return int(self._processor.get_piece_size())

    def pieces(self) -> list[str]:
        """Return the vocabulary, in the order of its ids."""
        return [self._processor.id_to_piece(i) for i in range(self.vocabulary_size)]

    def encode_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the vocabulary ids alone: for a large corpus, ten times as fast as `tokenize`."""
        ids: list[list[int]] = self._processor.encode(list(texts), out_type=int, num_threads=1)
        return ids

    def tokenize(self, text: str) -> Tokenized:
        """Tokenize a string; one that is empty after normalisation gives no tokens.

        Raises UnicodeEncodeError (a ValueError) for a lone surrogate.
        """
        tokenized = Tokenized([], [], [], [], None, [])
        self._append(tokenized, text)
        return tokenized

    def tokenize_words(self, words: Sequence[str]) -> Tokenized:
        """Tokenize a list of words, each as after a space; every word has at least one visible token.

        A word that normalises to nothing (white space, a zero-width character) is read as it is.
        Raises ValueError for an empty word, UnicodeEncodeError (a ValueError) for a lone surrogate.
        """
        indices: list[int] = []
        tokenized = Tokenized([], [], [], [], indices, [])
        for index, word in enumerate(words):
            if not word:
                raise ValueError(f"word {index} is empty")
            before = len(tokenized)
            self._append(tokenized, word)
            if len(tokenized) == before:
                for start in range(0, len(word), MAX_UNKNOWN_CHARACTERS):
                    chunk = word[start : start + MAX_UNKNOWN_CHARACTERS]
                    surface = chunk if start else WORD_START + chunk
                    tokenized.append(surface, UNKNOWN_ID, start, start + len(chunk))
            indices.extend([index] * (len(tokenized) - before))
        return tokenized

    def _append(self, tokenized: Tokenized, text: str) -> None:
        text.encode("utf-8")  # for its error, where SentencePiece raises one of its own
        found = self._processor.encode(text, return_type="offset_mapping")
        for surface, token_id, (start, end) in zip(
            found["pieces"], found["ids"], found["offsets"], strict=True
        ):
            if start < end and (text[start] in _NOT_READ or text[end - 1] in _NOT_READ):
                start, end = _trim(text, start, end)
            is_space = surface == WORD_START
            if token_id == UNKNOWN_ID and end - start > MAX_UNKNOWN_CHARACTERS and not is_space:
                for cut in range(start, end, MAX_UNKNOWN_CHARACTERS):
                    low, high = _trim(text, cut, min(cut + MAX_UNKNOWN_CHARACTERS, end))
                    if low < high:
                        tokenized.append(text[low:high], UNKNOWN_ID, low, high)
                continue
            tokenized.surfaces.append(surface)
            tokenized.ids.append(token_id)
            tokenized.starts.append(start)
            # Of one character's pieces only the last has a span; the others stand for that character too.
            tokenized.ends.append(end if is_space else max(end, start + 1))
            tokenized.visible.append(not is_space)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out what is no part of the token; SentencePiece counts a space to the word after it."""
    without_left = text[start:end].lstrip(NOT_READ)
    start = end - len(without_left)
    return start, start + len(without_left.rstrip(NOT_READ))

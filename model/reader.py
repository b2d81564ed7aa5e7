"""What a bundle reads text with: its tokenizer, its characters, and the words that have vectors of their own.

A bundle that was trained here has a SentencePiece model and an alphabet; one that was imported reads words,
each as a row of characters of a fixed length (elmo_characters.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import Bundle, BundleError
from model.characters import Alphabet
from model.elmo_characters import (
    BYTES_KIND,
    CODE_POINTS_KIND,
    NUM_MARKS,
    ByteRows,
    CodePointRows,
    WordIds,
)
from model.files import CHARACTERS_FILE, TOKENIZER_FILE, WORDS_FILE
from model.json_values import read_integer, read_list, read_string
from model.piece_ids import PieceIds, piece_ids_of
from model.tokenizer import SentencePieceTokenizer
from model.word_tokenizer import WordTokenizer


@dataclass(frozen=True)
class Reader:
    tokenizer: SentencePieceTokenizer | WordTokenizer
    alphabet: Alphabet | ByteRows | CodePointRows
    words: WordIds | PieceIds | None  # None: a token's vector depends on its characters alone


def open_reader(bundle: Bundle) -> Reader:
    """Raise BundleError, which names the file, when one cannot be read or does not fit the network."""
    folder, architecture = bundle.folder, bundle.manifest.architecture
    try:
        reader = _open(bundle)
    except ValueError as error:
        raise BundleError(f"{folder}: {error}") from error
    tokenizer, alphabet = reader.tokenizer, reader.alphabet
    sizes = [(f"{CHARACTERS_FILE}: characters", architecture.num_characters, alphabet.num_characters)]
    if isinstance(tokenizer, SentencePieceTokenizer):
        pieces = f"{TOKENIZER_FILE}: pieces"
        sizes.append((pieces, architecture.vocabulary_size, tokenizer.vocabulary_size))
    if reader.words is not None:
        file = WORDS_FILE if isinstance(reader.words, WordIds) else TOKENIZER_FILE
        sizes.append((f"{file}: words", architecture.word_vocabulary_size, reader.words.num_words))
    for what, expected, found in sizes:
        if found != expected:
            raise BundleError(
                f"{folder}/{what}: expected {expected}, as many as the network has, found {found}"
            )
    max_characters = None if isinstance(alphabet, Alphabet) else alphabet.max_characters
    if max_characters != architecture.max_characters:
        raise BundleError(
            f"{folder}/{CHARACTERS_FILE}: max_characters: expected {architecture.max_characters}, as the "
            f"network has, found {max_characters}"
        )
    return reader


def _open(bundle: Bundle) -> Reader:
    folder, architecture = bundle.folder, bundle.manifest.architecture
    if bundle.manifest.tokenizer == "sentencepiece":
        tokenizer = SentencePieceTokenizer(folder / TOKENIZER_FILE)
        pieces = piece_ids_of(architecture, tokenizer)
        return Reader(tokenizer, Alphabet.load(folder / CHARACTERS_FILE), pieces)
    rows = load_rows(folder / CHARACTERS_FILE)
    words = load_words(folder / WORDS_FILE) if architecture.word_dim else None
    return Reader(WordTokenizer(rows.max_characters - NUM_MARKS), rows, words)


def load_rows(path: Path) -> ByteRows | CodePointRows:
    """Raise ValueError naming the file when it is not the JSON of either's `to_document`."""
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError(f"expected an object, got {document!r:.100}")
        fields = {
            BYTES_KIND: {"kind", "max_characters"},
            CODE_POINTS_KIND: {"kind", "max_characters", "characters"},
        }
        kind = document.get("kind")
        if not isinstance(kind, str) or kind not in fields:
            raise ValueError(f'"kind": expected {" or ".join(map(json.dumps, fields))}, got {kind!r:.100}')
        if set(document) != fields[kind]:
            raise ValueError(f"expected the fields {', '.join(sorted(fields[kind]))}, got {sorted(document)}")
        max_characters = read_integer("max_characters", document["max_characters"])
        if kind == BYTES_KIND:
            return ByteRows(max_characters)
        characters = read_list("characters", document["characters"])
        return CodePointRows([read_string("characters", each) for each in characters], max_characters)
    except (ValueError, RecursionError) as error:  # brackets without end too
        raise ValueError(f"{path.name}: {error}") from error


def save_words(words: WordIds) -> bytes:
    """Return words.txt: a word a line, in the order of the ids."""
    return "".join(f"{word}\n" for word in words.words).encode("utf-8")


def load_words(path: Path) -> WordIds:
    """Raise ValueError naming the file when it is not what `save_words` writes."""
    try:
        *lines, rest = path.read_bytes().decode("utf-8").split("\n")
        if rest:
            raise ValueError("expected a line end after the last word, found none")
        return WordIds(lines)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error

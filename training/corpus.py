"""Text files become token ids in memory-mapped files.

A corpus is UTF-8 text, a paragraph a line, an empty line between documents. Packed, it is one row of token
ids in which every line begins with the boundary: the boundary after a line's last token is the one before the
next line, so a model that reads in either direction meets a boundary at both ends of every line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.characters import Alphabet
from model.piece_ids import PieceIds
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer

SUFFIXES = (".txt", ".txt.gz", ".txt.xz")
_OPENERS: dict[str, Any] = {".gz": gzip.open, ".xz": lzma.open}


MAX_DOCUMENT_LINES = 1000
"""A text without empty lines is cut into documents of so many lines: none has to fit into memory."""


def list_text_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and for a folder the text files directly in it, sorted.

    Raises ValueError for what does not exist, is no text file, or a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.iterdir() if p.name.endswith(SUFFIXES))
            if not found:
                raise ValueError(f"{path}: no text file in this folder (expected {', '.join(SUFFIXES)})")
            files += found
        elif not path.is_file():
            raise ValueError(f"{path}: no such file")
        elif not path.name.endswith(SUFFIXES):
            raise ValueError(f"{path}: expected a file named {', '.join('*' + s for s in SUFFIXES)}")
        else:
            files.append(path)
    return files


def read_documents(path: Path) -> Iterator[list[str]]:
    """Yield each document's lines.

    Raises ValueError naming the file, and the line that is not UTF-8.
    """
    lines: list[str] = []
    for line in read_lines(path):
        if line and len(lines) < MAX_DOCUMENT_LINES:
            lines.append(line)
        elif line:
            yield lines
            lines = [line]
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def read_lines(path: Path) -> Iterator[str]:
    """Yield every line, white space at its ends left out; empty ones too. Raises ValueError as above."""
    opener = _OPENERS.get(path.suffix, open)
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                # A file may begin with a byte order mark, which is no part of its text.
                yield line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: line {number} is not UTF-8: {error.reason}") from error
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}: cannot be decompressed: {error}") from error


def check_texts(paths: Sequence[Path]) -> list[Path]:
    """Return the text files of `paths`, each read to its end.

    Raises ValueError naming the file, and the line that is not UTF-8, or the file without text.
    """
    files = list_text_files(paths)
    for path in files:
        if not sum(1 for _ in read_documents(path)):
            raise ValueError(f"{path}: no text in this file")
    return files


def has_characters(files: Iterable[Path], least: int) -> bool:
    """Return whether the files hold at least so many characters; a line's end counts as one."""
    for path in files:
        for document in read_documents(path):
            least -= sum(len(line) + 1 for line in document)
            if least <= 0:
                return True
    return False


@dataclass(frozen=True)
class TextCounts:
    """What perplexity is divided by. A line's end counts as a word and as a character: it is predicted."""

    tokens: int  # boundaries included
    words: int  # separated by white space
    characters: int  # code points


class PackedCorpus:
    """Token ids of a corpus, memory-mapped.

    Ids below the vocabulary size are the vocabulary's; those above stand for one unknown surface each, which
    the character CNN reads as it is and which the softmax knows as <unk>.
    """

    def __init__(self, folder: Path) -> None:
        """Raise ValueError when the token ids are not all there."""
        document = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.vocabulary_size: int = document["vocabulary_size"]
        self.unknown_surfaces: list[str] = document["unknown_surfaces"]
        self.counts = TextCounts(**document["counts"])
        self.sha256: str | None = document.get("sha256")  # of all that is packed
        self.token_ids: npt.NDArray[np.uint32] = np.memmap(folder / "token_ids.bin", np.uint32, mode="r")
        self.document_starts: npt.NDArray[np.int64] = np.fromfile(folder / "document_starts.bin", np.int64)
        if len(self) != self.counts.tokens:
            raise ValueError(
                f"{folder}: expected {self.counts.tokens} tokens, found {len(self)}; delete this folder, and "
                "the text is packed again"
            )

    def __len__(self) -> int:
        return len(self.token_ids)

    @cached_property
    def document_lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.document_starts, append=len(self.token_ids))

    def lines(self, max_tokens: int | None = None) -> list[npt.NDArray[np.uint32]]:
        """Return whole lines' ids without boundaries, from documents spread evenly: about `max_tokens`."""
        share = 1.0 if max_tokens is None else min(1.0, max_tokens / len(self))
        num_documents = len(self.document_starts)
        chosen = np.unique(
            np.linspace(0, num_documents - 1, max(1, round(share * num_documents))).astype(int)
        )
        lines = []
        for index in chosen:
            start = self.document_starts[index]
            ids = self.token_ids[start : start + self.document_lengths[index]]
            lines += np.split(ids, np.flatnonzero(ids == BOUNDARY_ID))[1:]
        if max_tokens is not None:
            ends = np.cumsum([len(line) for line in lines])
            lines = lines[: max(1, int(np.searchsorted(ends, max_tokens, side="right")))]
        return [line[1:] for line in lines]


def pack(files: Iterable[Path], tokenizer: SentencePieceTokenizer, folder: Path) -> PackedCorpus:
    """Tokenise the files into `folder`, corpus.json last: a folder without it is not a packed corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus.json").unlink(missing_ok=True)
    packer = _Packer(tokenizer)
    digest = hashlib.sha256()
    with open(folder / "token_ids.bin", "wb") as sink:
        for path in files:
            documents = read_documents(path)
            # disable=None: no bar where nobody watches it, in a file or a pipe.
            with tqdm(documents, f"pack {path.name}", unit=" documents", leave=False, disable=None) as bar:
                for document in bar:
                    # Not ndarray.tofile, which does not notice that the disk is full.
                    data = packer.add(document).tobytes()
                    digest.update(data)
                    sink.write(data)
    starts = np.array(packer.document_starts, dtype=np.int64)
    (folder / "document_starts.bin").write_bytes(starts.tobytes())
    digest.update(starts.tobytes())
    digest.update("\0".join(packer.unknown).encode())
    document = {
        "vocabulary_size": tokenizer.vocabulary_size,
        "unknown_surfaces": list(packer.unknown),
        "counts": asdict(TextCounts(packer.tokens, packer.words, packer.characters)),
        "sha256": digest.hexdigest(),
    }
    partial = folder / "corpus.json.partial"
    partial.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    partial.rename(folder / "corpus.json")
    return PackedCorpus(folder)


class _Packer:
    def __init__(self, tokenizer: SentencePieceTokenizer) -> None:
        self.tokenizer = tokenizer
        self.unknown: dict[str, int] = {}
        self.document_starts: list[int] = []
        self.tokens = self.words = self.characters = 0

    def add(self, lines: list[str]) -> npt.NDArray[np.uint32]:
        self.document_starts.append(self.tokens)
        ids: list[int] = []
        for line, line_ids in zip(lines, self.tokenizer.encode_ids(lines), strict=True):
            ids.append(BOUNDARY_ID)
            ids += line_ids if UNKNOWN_ID not in line_ids else self._spell_unknown(line)
            self.words += len(line.split()) + 1
            self.characters += len(line) + 1
        self.tokens += len(ids)
        return np.array(ids, dtype=np.uint32)

    def _spell_unknown(self, line: str) -> list[int]:
        tokenized = self.tokenizer.tokenize(line)
        first = self.tokenizer.vocabulary_size
        ids = list(tokenized.ids)
        for i, surface in enumerate(tokenized.surfaces):
            if ids[i] == UNKNOWN_ID:
                ids[i] = first + self.unknown.setdefault(surface, len(self.unknown))
        return ids


class CharacterTable:
    """What the network reads of every surface of a corpus, by token id."""

    def __init__(
        self, alphabet: Alphabet, tokenizer: SentencePieceTokenizer, unknown_surfaces: Sequence[str]
    ) -> None:
        rows = [
            row[row != 0]
            for surfaces in (tokenizer.pieces(), unknown_surfaces)
            for start in range(0, len(surfaces), 4096)
            for row in alphabet.encode(surfaces[start : start + 4096])
        ]
        rows[BOUNDARY_ID] = alphabet.boundary_row()
        pieces = PieceIds(tokenizer.pieces())
        self.piece_ids = pieces.encode([*tokenizer.pieces(), *unknown_surfaces])
        """int32 (all surfaces): which vector of its own each has, found as the served model finds it."""
        self.piece_ids[BOUNDARY_ID] = BOUNDARY_ID
        self.lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self._starts = np.cumsum(self.lengths) - self.lengths
        self._flat = np.concatenate(rows)

    def rows(self, token_ids_N: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
        """Return int32 (N, C), zero padded to the longest."""
        lengths_N1 = self.lengths[token_ids_N][:, None]
        columns_C = np.arange(lengths_N1.max(initial=0))
        index_NC = np.minimum(self._starts[token_ids_N][:, None] + columns_C, len(self._flat) - 1)
        return cast(npt.NDArray[np.int32], np.where(columns_C < lengths_N1, self._flat[index_NC], 0))

"""WordNet 3.0's first senses, from its index.* and data.* files.

Formats: https://wordnet.princeton.edu/documentation/wndb5wn (the files) and senseidx5wn (sense keys).
"""

from __future__ import annotations

from pathlib import Path

from training.probes.readers.rows import lines

_KINDS = {"1": "noun", "2": "verb", "3": "adj", "4": "adv"}
_KIND_NUMBERS = {"n": 1, "v": 2, "a": 3, "r": 4, "s": 5}
_SATELLITE = "s"


def wordnet_files(folder: Path) -> list[Path]:
    """The files that are read of a folder."""
    return [folder / f"{prefix}.{kind}" for kind in _KINDS.values() for prefix in ("index", "data")]


def read_first_senses(folder: Path) -> dict[str, str]:
    """The first sense's key of every word: "bank%1" -> "bank%1:17:01::".

    Raises ValueError, naming the file (and the line of an index), for what is not WordNet's format.
    """
    first = {}
    for number, kind in _KINDS.items():
        data_path = folder / f"data.{kind}"
        data = data_path.read_bytes()
        for where, line in lines(folder / f"index.{kind}"):
            if line.startswith("  "):  # the licence
                continue
            lemma, offset = _lemma_and_first_offset(where, line)
            first[f"{lemma}%{number}"] = _sense_key(data_path, data, offset, lemma)
    return first


def _lemma_and_first_offset(where: str, line: str) -> tuple[str, int]:
    """lemma pos synset_cnt p_cnt [symbol...] sense_cnt tagsense_cnt synset_offset [...]: senses in order."""
    columns = line.split()
    try:
        return columns[0], int(columns[6 + int(columns[3])])
    except (IndexError, ValueError) as error:
        raise ValueError(f"{where}: expected a line of WordNet's index, got {line[:40]!r}") from error


def _sense_key(path: Path, data: bytes, offset: int, lemma: str) -> str:
    """lemma%kind:file:id:head:head id, the last two of satellites alone."""
    columns, members = _synset(path, data, offset)
    kind = columns[2]
    if lemma not in members:
        raise ValueError(f"{path}: byte {offset}: expected a synset of {lemma!r}, got {', '.join(members)}")
    head = _head(path, data, columns) if kind == _SATELLITE else ":"
    return f"{lemma}%{_KIND_NUMBERS[kind]}:{columns[1]}:{members[lemma]:02d}:{head}"


def _synset(path: Path, data: bytes, offset: int) -> tuple[list[str], dict[str, int]]:
    """offset lex_filenum ss_type w_cnt (word lex_id)... p_cnt (symbol offset pos source/target)... | gloss.

    Return the columns, and each word, in lower case and without marks such as (p), with its lex_id.
    """
    columns = data[offset : data.find(b"\n", offset)].decode("utf-8").split(" | ")[0].split()
    try:
        if int(columns[0]) != offset:
            raise ValueError(columns[0])
        pairs = columns[4 : 4 + 2 * int(columns[3], 16)]
        members: dict[str, int] = {}
        for word, lex_id in zip(pairs[::2], pairs[1::2], strict=True):
            members.setdefault(word.partition("(")[0].lower(), int(lex_id, 16))
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path}: byte {offset}: expected a synset") from error
    return columns, members


def _head(path: Path, data: bytes, columns: list[str]) -> str:
    """The first word of the synset that a satellite points to by "&", and its number."""
    pointers = columns[5 + 2 * int(columns[3], 16) :]
    if "&" not in pointers:
        raise ValueError(f"{path}: byte {columns[0]}: expected a satellite to point to its head, found none")
    _, members = _synset(path, data, int(pointers[pointers.index("&") + 1]))
    word, lex_id = next(iter(members.items()))
    return f"{word}:{lex_id:02d}"

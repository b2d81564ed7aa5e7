"""A WordNet of four words, in the format of the real one."""

from __future__ import annotations

from pathlib import Path

LICENCE = b"  1 This software and database is being provided to you\n"


def write_wordnet(folder: Path) -> Path:
    """bank%1: two senses, the second line of data first; other%3: a satellite whose head is "different"."""
    folder.mkdir()
    nouns = LICENCE
    first = len(nouns)
    nouns += b"%08d 17 n 02 bank 0 Riverside(p) 1 001 @ 00000000 n 0000 | sloping land\n" % first
    second = len(nouns)
    nouns += b"%08d 14 n 01 bank b 000 | an institution\n" % second
    adjectives = LICENCE
    head = len(adjectives)
    adjectives += b"%08d 00 a 01 different 2 001 & 00000000 a 0000 | unlike\n" % head
    satellite = len(adjectives)
    adjectives += b"%08d 00 s 01 other 1 002 ! 00000000 a 0000 & %08d a 0000 | not this\n" % (satellite, head)
    index = {
        "noun": [b"bank n 2 1 @ 2 1 %08d %08d  \n" % (second, first)],
        "adj": [b"other a 1 2 ! & 1 0 %08d  \n" % satellite],
        "verb": [],
        "adv": [],
    }
    for kind, data in {"noun": nouns, "adj": adjectives, "verb": LICENCE, "adv": LICENCE}.items():
        (folder / f"data.{kind}").write_bytes(data)
        (folder / f"index.{kind}").write_bytes(LICENCE + b"".join(index[kind]))
    return folder

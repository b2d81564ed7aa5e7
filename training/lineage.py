"""What a bundle says of the bundle that its run started from, and that one of its own, and so on.

A manifest's training record is of its own run alone. Where that run began with the weights of another bundle,
the record has a field `base`: that bundle's name, the sha256 of its manifest, its licence, and its own
training record, in which there may be a base in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from model.bundle import Manifest

Record = Mapping[str, Any]


def base_of(manifest: Manifest) -> dict[str, Any]:
    """Return what the record of a run that starts from this bundle has as its base."""
    return {
        "name": manifest.name,
        "sha256": manifest.sha256,
        "licence": manifest.licence,
        "training": manifest.training,
    }


def bases(record: Record) -> list[Record]:
    """Return the base of a training record, the base's base, and so on."""
    found: list[Record] = []
    while "base" in record:
        found.append(record["base"])
        record = record["base"]["training"]
    return found


def tokens_in_all(record: Record) -> int:
    """Return the tokens seen by the run and by all that came before it."""
    return sum(int(own.get("tokens_seen", 0)) for own in _records(record))


def corpora_in_all(record: Record) -> list[str]:
    """Return the text of the run and of all that came before it, each line once."""
    return list(dict.fromkeys(line for own in _records(record) for line in own.get("corpora", ())))


def _records(record: Record) -> Iterator[Record]:
    yield record
    for base in bases(record):
        yield base["training"]

"""`polyseme score`: sentences through the language model, in this process; the numbers are /v1/score's."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import orjson

from model.tokenizer import Tokenized
from service.commands.scores import coloured, columns, legend
from service.commands.terminal import is_coloured
from service.engine.backend import open_backend
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.engine.sentences import Scores
from service.errors import ServiceError
from service.inputs import check_inputs
from service.language_model import score_reply
from service.refusal import Refusal
from service.settings import Settings
from service.work import Work

GROUP_CHARACTERS = 4096
"""Of the sentences that are scored at a time: about one batch."""

Scored = tuple[Tokenized, Scores]


@dataclass(frozen=True, slots=True)
class Sentence:
    place: str  # as its user knows it: "sentence 2", "FILE:17"
    text: str


def score(flags: argparse.Namespace, settings: Settings) -> None:
    """Print the scores of the sentences. Raises Refusal, BundleError, OSError."""
    if len(settings.bundle) != 1:
        raise Refusal(f"--bundle: expected one folder, got {len(settings.bundle)}")
    sentences = list(_sentences(flags))
    with _told(sentences):
        check_inputs(_texts(sentences), len(sentences), settings.max_characters)
    registry = Registry(settings, open_backend)
    registry.open()
    try:
        embedder = registry.embedder(None)
        with _told(sentences):
            embedder.check_softmax()
        asyncio.run((_print_json if flags.json else _print)(flags, embedder, sentences))
    finally:
        registry.close()


async def _print_json(_: argparse.Namespace, embedder: Embedder, sentences: Sequence[Sentence]) -> None:
    scored = [each async for _, group in _scored(embedder, sentences) for each in group]
    print(score_reply(embedder.name, _texts(sentences), scored).decode())


async def _print(flags: argparse.Namespace, embedder: Embedder, sentences: Sequence[Sentence]) -> None:
    in_colour = is_coloured(flags.color, sys.stdout, os.environ)
    before: list[str] = []
    async for texts, scored in _scored(embedder, sentences):
        reply = orjson.loads(score_reply(embedder.name, texts, scored))
        for text, each in zip(texts, reply["scores"], strict=True):
            print(*before, *(coloured if in_colour else columns)(text, each), sep="\n", flush=True)
            before = [""]
    if in_colour:
        print(f"\n{legend()}")


async def _scored(
    embedder: Embedder, sentences: Sequence[Sentence]
) -> AsyncIterator[tuple[list[str], list[Scored]]]:
    """Yield the sentences and their scores, some at a time. Raises Refusal."""
    for group in _groups(sentences):
        texts = _texts(group)
        with _told(group):
            scored = await embedder.score(texts, Work())
        yield texts, scored


def _groups(sentences: Sequence[Sentence]) -> Iterator[list[Sentence]]:
    """Yield the sentences in groups of at most GROUP_CHARACTERS; a longer one by itself."""
    group: list[Sentence] = []
    for sentence in sentences:
        if group and sum(len(each.text) for each in group) + len(sentence.text) > GROUP_CHARACTERS:
            yield group
            group = []
        group.append(sentence)
    yield group


@contextmanager
def _told(sentences: Sequence[Sentence]) -> Iterator[None]:
    """Turn what is wrong with one of the `inputs` into a line with its place."""
    try:
        yield
    except ServiceError as error:
        found = re.match(r"inputs\[(\d+)\]", error.where or "")
        place = f"{sentences[int(found[1])].place}: " if found else ""
        raise Refusal(place + error.message) from None


def _texts(sentences: Sequence[Sentence]) -> list[str]:
    return [sentence.text for sentence in sentences]


def _sentences(flags: argparse.Namespace) -> Iterator[Sentence]:
    """Yield the sentences that are given. Raises Refusal, OSError."""
    if flags.texts and flags.file:
        raise Refusal("expected sentences or --file, got both")
    if flags.texts:
        for number, text in enumerate(flags.texts, start=1):
            yield _sentence(f"sentence {number}", os.fsencode(text))
    elif flags.file:
        with flags.file.open("rb") as file:
            yield from _lines(file, str(flags.file))
    else:
        if sys.stdin.isatty():
            print("polyseme: sentences, one a line; Ctrl-D ends them", file=sys.stderr)
        yield from _lines(sys.stdin.buffer, "standard input")


def _lines(file: BinaryIO, name: str) -> Iterator[Sentence]:
    is_empty = True
    for number, line in enumerate(file, start=1):
        sentence = _sentence(f"{name}:{number}", line.rstrip(b"\r\n"))
        if sentence.text.strip():
            yield sentence
            is_empty = False
    if is_empty:
        raise Refusal(f"{name}: expected a sentence a line, got none")


def _sentence(place: str, line: bytes) -> Sentence:
    try:
        return Sentence(place, line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Refusal(f"{place}: expected UTF-8, got byte 0x{line[error.start]:02x}") from None

"""Labelled examples as a fit embeds them, gathered one by one and checked; and unlabelled ones alike.

An example is a text and what of it gets a vector: the whole sentence, every word, or a marked stretch. What
gets a vector has a label: `rows` are what is learned from.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from model.tasks.examples import MIN_EXAMPLES, Integers
from model.tasks.task import Kind
from model.tokenizer import Tokenized
from service.engine.backend import Floats
from service.errors import ErrorType, ServiceError
from service.inputs import check_inputs, check_spans
from service.replies.pooling import Encoded, check_touching, pool, pool_spans, word_and_text
from service.schemas import Text
from service.tasks.schemas import Example, Input, SenseInput, TagExample, TagInput

MAX_LABEL_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one fit; None for none."""

    max_characters: int | None = None  # of one text
    max_rows: int | None = None
    max_labels: int | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A text and what of it gets a vector."""

    text: Text
    is_tagged: bool = False  # every word, of a list
    span: tuple[int, int] | None = None  # a stretch, of a string
    word: str | None = None  # that is marked

    @classmethod
    def of(cls, given: Input) -> Item:
        """Nothing is checked yet."""
        match given:
            case SenseInput(text=text, start=start, end=end):
                marked = unicodedata.normalize("NFC", text[max(start, 0) : max(end, 0)]).lower()
                return cls(text, span=(start, end), word=marked if given.word is None else given.word)
            case TagInput(words=words):
                return cls(words, is_tagged=True)
        return cls(given.text)

    @property
    def num_rows(self) -> int:
        return len(self.text) if self.is_tagged else 1

    @property
    def num_characters(self) -> int:
        return len(self.text) if isinstance(self.text, str) else sum(map(len, self.text))

    def check(self, max_characters: int | None, where: str) -> None:
        """Raise ServiceError when it cannot be embedded."""
        with _at(where, "words" if self.is_tagged else "text"):
            check_inputs([self.text], 1, self.num_characters if max_characters is None else max_characters)
        if self.span is not None:
            with _at(where, "start"):
                check_spans([[list(self.span)]], [self.text])
        if self.word == "":
            raise ServiceError(
                ErrorType.invalid_request, "expected a word, got an empty string", f"{where}.word"
            )

    def check_tokens(self, tokenized: Tokenized, where: str) -> None:
        """Raise ServiceError when the marked stretch touches no token."""
        if self.span is not None:
            with _at(where, "start"):
                check_touching([list(self.span)], tokenized, where)

    def rows(self, tokenized: Tokenized, vectors: Floats) -> Floats:
        """Return (..., R, D): of the vectors (..., T, D) of its tokens, the means that are its rows."""
        encoded = Encoded.of(self.text, tokenized, vectors)
        if self.span is not None:
            return pool_spans(encoded, [list(self.span)])[0]
        return pool(encoded, "word" if self.is_tagged else "sentence")[0]

    def features(self, tokenized: Tokenized, layers: Floats) -> Floats:
        """Return what a task learns from, (R, C, D), of all layers (L, T, D): each row's layers, and for a
        marked word the global context of its text."""
        if self.span is not None:
            return word_and_text(tokenized, layers, *self.span)[None]
        return self.rows(tokenized, layers).swapaxes(0, 1)


class Examples:
    """All examples of one fit. Raises ServiceError for what cannot be learned from."""

    def __init__(self, kind: Kind, limits: Limits) -> None:
        self.kind = kind
        self.items: list[Item] = []
        self.places: list[str] = []  # of the items, for errors
        self.labels: list[str] = []  # of the rows
        self._limits = limits
        self._label_of: dict[str, str] = {}  # equal ones are kept once
        self._senses: set[tuple[str | None, str]] = set()
        self._first_of_text: dict[str | tuple[str, ...], int] = {}
        self._groups: list[int] = []  # of the rows

    def add(self, example: Example, where: str) -> None:
        """Take in one more. where: its place, for errors."""
        item = Item.of(example)
        labels = example.labels if isinstance(example, TagExample) else [example.label]
        item.check(self._limits.max_characters, where)
        if len(labels) != item.num_rows:
            message = f"expected {item.num_rows}, one for each word, got {len(labels)}"
            raise ServiceError(ErrorType.invalid_request, message, f"{where}.labels")
        most = self._limits.max_rows
        if most is not None and len(self.labels) + item.num_rows > most:
            message = f"expected at most {most} {self._rows} in one fit, got more"
            raise ServiceError(ErrorType.too_many_examples, message, where)
        for i, label in enumerate(labels):
            place = f"{where}.labels[{i}]" if item.is_tagged else f"{where}.label"
            self._add_label(label, item.word, place)
        # The same text on both sides of the split would be learned by heart.
        key = item.text if isinstance(item.text, str) else tuple(item.text)
        group = self._first_of_text.setdefault(key, len(self.items))
        self._groups += [group] * item.num_rows
        self.items.append(item)
        self.places.append(where)

    def check(self) -> None:
        """Raise ServiceError when there is too little to learn from, before anything is embedded."""
        if len(self.labels) < MIN_EXAMPLES:
            message = f"expected at least {MIN_EXAMPLES} {self._rows}, got {len(self.labels)}"
            raise ServiceError(ErrorType.invalid_request, message, "examples")
        if self.kind != "sense" and len(self._label_of) < 2:
            message = f"expected at least 2 labels, got {len(self._label_of)}"
            raise ServiceError(ErrorType.invalid_request, message, "examples")
        num_words = len({word for word, _ in self._senses})
        if self.kind == "sense" and len(self._senses) == num_words:
            message = f"expected a word with at least 2 senses, got 1 for each of {num_words}"
            raise ServiceError(ErrorType.invalid_request, message, "examples")

    @property
    def words(self) -> list[str] | None:
        """The marked word of each row, for `sense`."""
        return [item.word or "" for item in self.items] if self.kind == "sense" else None

    @property
    def groups(self) -> Integers:
        """Equal for rows of the same text, int64 (N)."""
        return np.array(self._groups, dtype=np.int64)

    @property
    def _rows(self) -> str:
        return {"classify": "sentences", "tag": "words", "sense": "marked words"}[self.kind]

    def _add_label(self, label: str, word: str | None, place: str) -> None:
        if not label or len(label) > MAX_LABEL_CHARACTERS:
            message = f"expected a label of 1 to {MAX_LABEL_CHARACTERS} characters, got {len(label)}"
            raise ServiceError(ErrorType.invalid_request, message, place)
        label = self._label_of.setdefault(label, label)
        self._senses.add((word, label))
        self.labels.append(label)
        most = self._limits.max_labels
        if most is not None and len(self._senses) > most:
            what = "senses, those of all words together," if self.kind == "sense" else "labels"
            message = f"expected at most {most} {what} in one fit, got more"
            raise ServiceError(ErrorType.too_many_examples, message, place)


def checked_items(inputs: Sequence[Input], max_inputs: int, max_characters: int) -> list[Item]:
    """Return what is to be embedded for a prediction. Raises ServiceError."""
    if len(inputs) > max_inputs:
        message = f"expected at most {max_inputs} inputs, got {len(inputs)}"
        raise ServiceError(ErrorType.too_many_inputs, message, "inputs")
    items = [Item.of(given) for given in inputs]
    for i, item in enumerate(items):
        item.check(max_characters, f"inputs[{i}]")
    return items


@contextmanager
def _at(where: str, field: str) -> Iterator[None]:
    """Move an error of a check that knows inputs alone to its place."""
    try:
        yield
    except ServiceError as error:
        _, is_input, within = (error.where or "").partition("inputs[0]")
        place = f"{where}.{field}{within if is_input else ''}"
        raise ServiceError(error.type, error.message, place, error.headers) from None

"""A reply to /v1/embed as JSON, in the parts of which it is made up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from service.choices import Encoding
from service.replies import wire
from service.replies.answers import Answer, Heading, MarkName


def json_parts(
    heading: Heading, marks: MarkName | None, answers: Iterable[Answer], encoding: Encoding
) -> Iterator[bytes]:
    """Yield the JSON. An answer is asked for when those before it have been written."""
    yield orjson.dumps(heading.document())[:-1]
    yield b',"embeddings":['
    names = None if heading.choice is None else heading.names  # layers are a list, tasks an object
    for i, answer in enumerate(answers):
        document: dict[str, Any] = {"tokens": answer.tokens, "num_tokens": len(answer.tokens)}
        if marks is not None and answer.marks is not None:
            document[marks] = answer.marks
        yield b"," if i else b""
        yield from wire.with_vectors(document, answer.rows, encoding, names)
    yield b"]}"

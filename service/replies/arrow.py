"""A reply to /v1/embed as an Arrow IPC stream. What is in it, users read below (LAYOUT).

Source: Arrow Columnar Format 1.5, "IPC Streaming Format". nanoarrow writes the schema, record_batch.py the
vectors.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import nanoarrow as na
import numpy as np
import numpy.typing as npt
import orjson
from nanoarrow.c_array_stream import CArrayStream
from nanoarrow.ipc import StreamWriter

from service.choices import DType
from service.replies.answers import Answer, Heading, MarkName, Rows
from service.replies.long_reply import Piece
from service.replies.pooling import Span
from service.replies.record_batch import END_OF_STREAM, Buffer, Column, record_batch, view

LAYOUT = """An Arrow IPC stream with a row for each input, in the order of the inputs.

- `tokens`: list of struct of `text` (string), `start`, `end`, `word` (int32; `word` is null for a string)
- `words`, only with `pool: word`: list of struct of `text`, `start`, `end`; null for a list of words
- `spans`, only with `spans`: the same
- `vectors`: list of fixed-size list of float32 or float16, a row for each token, word, span or sentence;
  with `layer: all` a column for each layer instead, `vectors_0` and so on, with `tasks` one for each,
  `vectors_NAME`

Under the key `polyseme` the metadata of the schema has JSON with `model`, `dimension`, `layer_weights`,
`gamma` and `dtype`.
"""

METADATA_KEY = "polyseme"

BATCH_BYTES = 4 * 1024 * 1024
"""Of vectors; an input's rows are never divided."""

_TYPES = {"float32": na.float32, "float16": na.float16}
_MARK = {"text": na.string(), "start": na.int32(), "end": na.int32()}
_TOKEN = {**_MARK, "word": na.int32()}


def arrow_parts(
    heading: Heading, marks: MarkName | None, answers: Iterable[Answer], dtype: DType
) -> Iterator[Piece]:
    """Yield the stream. An answer is asked for when the batches before it have been written; its rows are
    parts of the stream as they are."""
    yield _schema(heading, marks, dtype)
    for batch in _batches(answers):
        yield from record_batch(len(batch), list(_columns(heading, marks, batch)))
    yield END_OF_STREAM


def _schema(heading: Heading, marks: MarkName | None, dtype: DType) -> bytes:
    fields = {"tokens": na.list_(na.struct(_TOKEN))}
    if marks is not None:
        fields[marks] = na.list_(na.struct(_MARK))
    vectors = na.list_(na.fixed_size_list(_TYPES[dtype](), heading.dimension))
    names = ["vectors"] if heading.names is None else [f"vectors_{name}" for name in heading.names]
    fields.update(dict.fromkeys(names, vectors))
    metadata = orjson.dumps({**heading.document(), "dtype": dtype}).decode()
    schema = na.c_schema(na.struct(fields, nullable=False)).modify(metadata={METADATA_KEY: metadata})
    sink = io.BytesIO()
    writer = StreamWriter.from_writable(sink)
    writer.write_stream(CArrayStream.from_c_arrays([], schema))
    writer.release()  # without the end of the stream
    return sink.getvalue()


def _batches(answers: Iterable[Answer]) -> Iterator[list[Answer]]:
    batch: list[Answer] = []
    num_bytes = 0
    for answer in answers:
        batch.append(answer)
        num_bytes += answer.rows.nbytes
        if num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _columns(heading: Heading, marks: MarkName | None, batch: Sequence[Answer]) -> Iterator[Column]:
    """Yield an array for each field of the schema, an item for each input."""
    yield _spans([answer.tokens for answer in batch], with_word=True)
    if marks is not None:
        yield _spans([answer.marks for answer in batch], with_word=False)
    if heading.names is None:
        yield _vectors([answer.rows for answer in batch])
        return
    for i in range(len(heading.names)):
        yield _vectors([answer.rows[i] for answer in batch])


def _vectors(rows_RD: Sequence[Rows]) -> Column:
    """Return list<fixed_size_list<D>>."""
    num_rows, num_values = sum(map(len, rows_RD)), sum(rows.size for rows in rows_RD)
    values = Column(num_values, 0, [(), list(map(view, rows_RD))])
    rows = Column(num_rows, 0, [()], [values])
    return Column(len(rows_RD), 0, [(), _offsets(map(len, rows_RD))], [rows])


def _spans(spans: Sequence[Sequence[Span] | None], with_word: bool) -> Column:
    """Return list<struct<text, start, end>>, or with the `word` too."""
    flat = list(chain.from_iterable(part or () for part in spans))
    children = [
        _texts([span["text"] for span in flat]),
        _integers([span["start"] for span in flat]),
        _integers([span["end"] for span in flat]),
    ]
    if with_word:
        children.append(_integers([span.get("word") for span in flat]))
    items = Column(len(flat), 0, [()], children)
    num_null, validity = _validity([part is not None for part in spans])
    return Column(len(spans), num_null, [validity, _offsets(len(part or ()) for part in spans)], [items])


def _texts(texts: Sequence[str]) -> Column:
    encoded = [text.encode() for text in texts]
    return Column(len(texts), 0, [(), _offsets(map(len, encoded)), [b"".join(encoded)]])


def _integers(values: Sequence[int | None]) -> Column:
    num_null, validity = _validity([value is not None for value in values])
    return Column(
        len(values), num_null, [validity, [view(np.array([value or 0 for value in values], dtype="<i4"))]]
    )


def _validity(present: Sequence[bool]) -> tuple[int, Buffer]:
    """Return how many values are null, and a bit for each that is not; no bits when all are there."""
    num_null = len(present) - sum(present)
    return num_null, [view(np.packbits(present, bitorder="little"))] if num_null else ()


def _offsets(lengths: Iterable[int]) -> Buffer:
    offsets: npt.NDArray[Any] = np.array(list(accumulate(lengths, initial=0)), dtype="<i4")
    return [view(offsets)]

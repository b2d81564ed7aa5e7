"""A shard as Parquet: the input's columns, where each row was, its tokens and its vectors.

Vectors are neither compressed nor counted for statistics: both take long and give nothing.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np

from service.bulk.report import Report
from service.bulk.shard_file import Embedded, Output
from service.choices import DType, Pool
from service.replies.answers import Heading
from service.replies.arrow import METADATA_KEY
from service.replies.pooling import Span

REPORT_KEY = "polyseme.report"

WRITE_BATCH = 65_536
"""Values at once; with pyarrow's 1,024, which is one vector, writing takes a fifth longer."""


def names_of_ours(heading: Heading, pool: Pool) -> list[str]:
    """Return the names of the columns that are not the input's."""
    return ["file", "line", "tokens", *(["words"] if pool == "word" else []), *_vector_names(heading, pool)]


def read_report(path: Path) -> Report:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path).metadata
    return Report.from_json(metadata[REPORT_KEY.encode()].decode())


class Writer:
    """See shard_file.Writer. Every window is a row group."""

    def __init__(self, output: Output, path: Path, file: str, columns: Any) -> None:
        import pyarrow.parquet as pq

        self._output = output
        self._file = file
        self._schema = _schema(output, columns)
        vectors = tuple(_vector_names(output.heading, output.pool))
        leaves = [name for name in _leaves(self._schema) if name.partition(".")[0] not in vectors]
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression=dict.fromkeys(leaves, "zstd"),
            use_dictionary=leaves,
            write_statistics=leaves,
            write_batch_size=WRITE_BATCH,
        )

    def add(self, rows: Sequence[Embedded], kept: Any) -> None:
        import pyarrow as pa

        output = self._output
        columns = [
            pa.array([self._file] * len(rows), pa.string()),
            pa.array([row.line for row in rows], pa.int64()),
            *kept.columns,
            _spans([row.answer.tokens for row in rows], _span_type(with_word=True)),
        ]
        if output.pool == "word":
            columns.append(_spans([_words(row) for row in rows], _span_type(with_word=False)))
        names = _vector_names(output.heading, output.pool)
        for i, name in enumerate(names):
            parts = [row.answer.rows if output.heading.names is None else row.answer.rows[i] for row in rows]
            columns.append(_vectors(parts, self._schema.field(name).type, output.heading.dimension))
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def finish(self, report: Report) -> None:
        self._writer.add_key_value_metadata({REPORT_KEY: report.to_json()})
        self._writer.close()

    def discard(self) -> None:
        self._writer.close()


def _vector_names(heading: Heading, pool: Pool) -> list[str]:
    name = "vector" if _is_one(pool) else "vectors"
    return [name] if heading.names is None else [f"{name}_{each}" for each in heading.names]


def _is_one(pool: Pool) -> bool:
    """Whether every row has one vector."""
    return pool.startswith("sentence")


def _schema(output: Output, kept: Any) -> Any:
    import pyarrow as pa

    fields = [pa.field("file", pa.string()), pa.field("line", pa.int64()), *kept]
    fields.append(pa.field("tokens", _span_type(with_word=True)))
    if output.pool == "word":
        fields.append(pa.field("words", _span_type(with_word=False)))
    fields += [
        pa.field(name, _vector_type(output.heading.dimension, output.dtype, output.pool), nullable=False)
        for name in _vector_names(output.heading, output.pool)
    ]
    metadata = json.dumps({**output.heading.document(), "dtype": output.dtype}, ensure_ascii=False)
    return pa.schema(fields, metadata={METADATA_KEY: metadata})


def _span_type(*, with_word: bool) -> Any:
    import pyarrow as pa

    fields = [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
    return pa.list_(pa.struct([*fields, ("word", pa.int32())] if with_word else fields))


def _vector_type(dimension: int, dtype: DType, pool: Pool) -> Any:
    import pyarrow as pa

    # What may be null costs a level for each number to be written and read.
    value = pa.field("element", pa.float16() if dtype == "float16" else pa.float32(), nullable=False)
    one = pa.list_(value, dimension)
    return one if _is_one(pool) else pa.list_(pa.field("element", one, nullable=False))


def _leaves(schema: Any) -> list[str]:
    """Return what Parquet calls the columns of a schema, of which nested types have several."""
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(schema.empty_table(), file)
    found = pq.ParquetFile(file).schema
    return [found.column(i).path for i in range(len(found))]


def _vectors(parts: Sequence[Any], type_: Any, dimension: int) -> Any:
    import pyarrow as pa

    values = np.concatenate([np.empty((0, dimension), parts[0].dtype), *parts]) if parts else np.empty(0)
    one = type_ if pa.types.is_fixed_size_list(type_) else type_.value_type
    flat = pa.array(values.reshape(-1), one.value_type)
    vectors = pa.FixedSizeListArray.from_arrays(flat, type=one)
    if one is type_:
        return vectors
    return pa.ListArray.from_arrays(_offsets(map(len, parts)), vectors, type=type_)


def _words(row: Embedded) -> list[Span]:
    """Return where each word is: in a string, or the whole of one of a list."""
    if row.answer.marks is not None:
        return row.answer.marks
    return [Span(text=word, start=0, end=len(word)) for word in row.text]


def _spans(spans: Sequence[Sequence[Span]], type_: Any) -> Any:
    import pyarrow as pa

    flat = list(chain.from_iterable(spans))
    struct = type_.value_type
    columns = [pa.array([span.get(field.name) for span in flat], field.type) for field in struct]
    items = pa.StructArray.from_arrays(columns, fields=list(struct))
    return pa.ListArray.from_arrays(_offsets(map(len, spans)), items, type=type_)


def _offsets(lengths: Iterable[int]) -> Any:
    import pyarrow as pa

    return pa.array(np.array(list(accumulate(lengths, initial=0)), dtype=np.int32))

"""Rows of a Parquet file: its columns stay what they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.body import show
from service.bulk.line_rows import TEXT, WORDS
from service.bulk.options import Options
from service.bulk.rows import Row, checked
from service.bulk.sources import Source
from service.refusal import Refusal

ROWS_AT_ONCE = 256
"""Other columns may hold anything, pictures too."""


def parquet_rows(source: Source, options: Options) -> Iterator[Row]:
    """Yield every row; a null is a bad one. Raises Refusal, OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(source.path)
        place = _place(source, file.schema_arrow, options.column)
        number = 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            kept_bytes = batch.nbytes // max(batch.num_rows, 1)
            for i, text in enumerate(_values(batch.column(place))):
                number += 1
                if isinstance(text, Exception | None):
                    came = "null" if text is None else "another encoding"
                    yield Row(number, error=f"expected text in UTF-8, got {came}")
                elif isinstance(text, list) and None in text:
                    yield Row(number, error=f"word {text.index(None)}: expected a word, got null")
                else:
                    yield checked(number, text, batch.slice(i, 1), kept_bytes, options)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Of damaged pages it says so as OSError, without a number or the file's name.
        raise Refusal(f"{source.name}: expected Parquet, got what cannot be read: {error}") from None


def _place(source: Source, schema: Any, column: str | None) -> int:
    import pyarrow as pa

    if len(set(schema.names)) < len(schema.names):
        raise Refusal(f"{source.name}: expected every column's name once, got {', '.join(schema.names)}")
    name = column or (WORDS if TEXT not in schema.names and WORDS in schema.names else TEXT)
    if name not in schema.names:
        names = ", ".join(map(show, schema.names))
        raise Refusal(f"{source.name}: expected a column {show(name)}, got {names}: name it with --column")
    type_ = schema.field(name).type
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        type_ = type_.value_type
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    if not (pa.types.is_string(type_) or pa.types.is_large_string(type_)):
        raise Refusal(
            f"{source.name}: expected strings or lists of them in {show(name)}, got {schema.field(name).type}"
        )
    return int(schema.names.index(name))


def _values(column: Any) -> Iterator[Any]:
    """Yield every value; UnicodeDecodeError itself for one that is no UTF-8, which Parquet allows."""
    try:
        yield from column.to_pylist()
    except UnicodeDecodeError:
        for value in column:
            try:
                yield value.as_py()
            except UnicodeDecodeError as error:
                yield error

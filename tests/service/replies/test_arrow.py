"""What pyarrow reads from an Arrow reply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from service.choices import DType
from service.mixes import Choice, Mix
from service.replies.answers import Answer, Heading, MarkName
from service.replies.arrow import BATCH_BYTES, arrow_parts
from service.replies.pooling import Span

MIX = Mix((0.25, 0.75), 2.0)
STRING_TOKENS = [Span(text="가", start=0, end=1), Span(text="b😀", start=2, end=4)]
WORD_TOKENS = [Span(text="x", start=0, end=1, word=0)]


def read(
    choice: Choice, told: Sequence[Answer], marks: MarkName | None = None, dtype: DType = "float32"
) -> pa.Table:
    heading = Heading("enko", dimension=3, num_layers=2, choice=choice)
    stream = b"".join(arrow_parts(heading, marks, told, dtype))
    table = pa.ipc.open_stream(stream).read_all()
    table.validate(full=True)
    return table


def rows(*shape: int, dtype: str = "<f4") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_mix(dtype: DType) -> None:
    one, other = rows(2, 3, dtype=dtype), -rows(1, 3, dtype=dtype)
    table = read(MIX, [Answer(STRING_TOKENS, one, None), Answer(WORD_TOKENS, other, None)], dtype=dtype)
    value = pa.float32() if dtype == "float32" else pa.float16()
    token = pa.struct(
        [("text", pa.string()), ("start", pa.int32()), ("end", pa.int32()), ("word", pa.int32())]
    )
    assert table.schema.names == ["tokens", "vectors"]
    assert table.schema.field("tokens").type == pa.list_(token)
    assert table.schema.field("vectors").type == pa.list_(pa.list_(value, 3))
    assert json.loads(table.schema.metadata[b"polyseme"]) == {
        "model": "enko",
        "dimension": 3,
        "layer_weights": [0.25, 0.75],
        "gamma": 2.0,
        "dtype": dtype,
    }
    assert table["tokens"].to_pylist() == [
        [{**span, "word": None} for span in STRING_TOKENS],
        [{"text": "x", "start": 0, "end": 1, "word": 0}],
    ]
    assert table["vectors"].to_pylist() == [one.tolist(), other.tolist()]


def test_all_layers_have_a_column_each() -> None:
    layers = rows(2, 2, 3)
    table = read(None, [Answer(STRING_TOKENS, layers, None)])
    assert table.schema.names == ["tokens", "vectors_0", "vectors_1"]
    assert table["vectors_0"].to_pylist() == [layers[0].tolist()]
    assert table["vectors_1"].to_pylist() == [layers[1].tolist()]
    described = json.loads(table.schema.metadata[b"polyseme"])
    assert (described["layer_weights"], described["gamma"]) == (None, 1.0)


def test_tasks_have_a_column_each() -> None:
    mixed = rows(2, 1, 3)
    table = read({"품사": MIX, "tokens": Mix((1.0, 0.0))}, [Answer(WORD_TOKENS, mixed, None)])
    assert table.schema.names == ["tokens", "vectors_품사", "vectors_tokens"]
    assert table["vectors_tokens"].to_pylist() == [mixed[1].tolist()]
    described = json.loads(table.schema.metadata[b"polyseme"])
    assert described["gamma"] == {"품사": 2.0, "tokens": 1.0}


def test_words_are_null_for_a_list_of_words() -> None:
    words = [Span(text="가", start=0, end=1)]
    told = [Answer(WORD_TOKENS, rows(1, 3), None), Answer(STRING_TOKENS, rows(1, 3), words)]
    table = read(MIX, told, "words")
    assert table.schema.names == ["tokens", "words", "vectors"]
    assert table["words"].to_pylist() == [None, words]


def test_an_input_without_spans_has_no_rows() -> None:
    spans = [Span(text="가 b", start=0, end=3)]
    told = [Answer(STRING_TOKENS, rows(0, 3), []), Answer(STRING_TOKENS, rows(1, 3), spans)]
    table = read(MIX, told, "spans")
    assert table["spans"].to_pylist() == [[], spans]
    assert table["vectors"].to_pylist() == [[], [[0.0, 1.0, 2.0]]]


def test_nothing_but_inputs_without_spans() -> None:
    table = read(MIX, [Answer(STRING_TOKENS, rows(0, 3), [])], "spans")
    assert table["vectors"].to_pylist() == [[]]


def test_a_large_reply_has_several_batches_and_every_row_once() -> None:
    num_rows = BATCH_BYTES // (3 * 4) // 2 + 1
    told = [Answer(WORD_TOKENS, np.full((num_rows, 3), i, dtype="<f4"), None) for i in range(5)]
    heading = Heading("enko", dimension=3, num_layers=2, choice=MIX)
    stream = pa.ipc.open_stream(b"".join(arrow_parts(heading, None, told, "float32")))
    batches = list(stream)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    table = pa.Table.from_batches(batches)
    table.validate(full=True)
    values = table["vectors"].combine_chunks().flatten().flatten().to_numpy()
    np.testing.assert_array_equal(values, np.repeat(np.arange(5), num_rows * 3))

"""From a model's layers to what a reply says of an input, before it is written in any form."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.choices import DType
from service.errors import ServiceError
from service.mixes import Choice, Mix
from service.replies.answers import Answer, Heading, Rows, answers, in_dtype, mark_name
from service.replies.pooling import Span
from service.schemas import EmbedRequest
from tests.service.fake_backend import FakeTokenizer

LAYERS = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
HALVES = {"a": Mix((0.5, 0.5, 0.0)), "b": Mix((0.0, 0.0, 1.0), gamma=-2.0)}


def answer(choice: Choice, vectors: Rows, **fields: Any) -> Answer:
    body = EmbedRequest(inputs=["xy z"], **fields)
    (told,) = answers(body, choice, [(FakeTokenizer().tokenize("xy z"), vectors.astype(np.float32))])
    assert told.tokens == [Span(text="xy", start=0, end=2), Span(text="z", start=3, end=4)]
    assert told.rows.flags.c_contiguous
    return told


def test_one_mix_and_all_layers_are_rows_as_the_engine_gave_them() -> None:
    np.testing.assert_array_equal(answer(Mix((1.0, 0, 0)), LAYERS[0]).rows, LAYERS[0])
    np.testing.assert_array_equal(answer(None, LAYERS).rows, LAYERS)


def test_several_mixes_are_made_of_the_layers() -> None:
    rows = answer(HALVES, LAYERS).rows
    np.testing.assert_array_equal(rows, [(LAYERS[0] + LAYERS[1]) / 2, -2 * LAYERS[2]])


def test_what_is_mixed_is_then_pooled_normalized_and_rounded() -> None:
    told = answer(HALVES, LAYERS, pool="sentence_max", normalize=True, dtype="float16")
    first, second = ((LAYERS[0] + LAYERS[1]) / 2).max(axis=0), (-2 * LAYERS[2]).max(axis=0)
    expected = np.stack([first / np.linalg.norm(first), second / np.linalg.norm(second)])[:, None]
    assert told.rows.dtype == np.float16
    np.testing.assert_allclose(told.rows, expected, rtol=1e-3)
    assert told.marks is None


def test_spans_are_marked() -> None:
    told = answer(None, LAYERS, spans=[[[1, 4], [3, 4]]])
    np.testing.assert_array_equal(told.rows, np.stack([LAYERS.mean(axis=1), LAYERS[:, 1]], axis=1))
    assert told.marks == [Span(text="y z", start=1, end=4), Span(text="z", start=3, end=4)]


@pytest.mark.parametrize(
    ("fields", "name"),
    [({}, None), ({"pool": "sentence"}, None), ({"pool": "word"}, "words"), ({"spans": []}, "spans")],
)
def test_what_the_marks_are_called(fields: dict[str, Any], name: str | None) -> None:
    assert mark_name(EmbedRequest(inputs=["a"], **fields)) == name


@pytest.mark.parametrize(
    ("choice", "names", "layer_weights", "gamma"),
    [
        (Mix((0.2, 0.8), 3.0), None, (0.2, 0.8), 3.0),
        (None, ["0", "1"], None, 1.0),
        (
            {"pos": Mix((0.0, 1.0)), "sense": Mix((0.5, 0.5), 2.0)},
            ["pos", "sense"],
            {"pos": (0.0, 1.0), "sense": (0.5, 0.5)},
            {"pos": 1.0, "sense": 2.0},
        ),
    ],
)
def test_what_is_said_of_all_inputs(
    choice: Choice, names: object, layer_weights: object, gamma: object
) -> None:
    heading = Heading("enko", dimension=4, num_layers=2, choice=choice)
    assert heading.names == names
    assert heading.document() == {
        "model": "enko",
        "dimension": 4,
        "layer_weights": layer_weights,
        "gamma": gamma,
    }


@given(st.lists(st.floats(-65504, 65504, width=32), min_size=1))
def test_float16_is_the_nearest_half(values: list[float]) -> None:
    vectors = np.array(values, dtype=np.float32)
    assert in_dtype(vectors, "float16").tobytes() == vectors.astype("<f2").tobytes()
    assert in_dtype(vectors, "float32") is vectors


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_float16_cannot_hold_is_refused_and_not_made_infinite(dtype: DType) -> None:
    vectors = np.array([[1.0, -70000.0]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if dtype == "float32":
            assert in_dtype(vectors, dtype).tolist() == [[1.0, -70000.0]]
            return
        with pytest.raises(ServiceError) as caught:
            in_dtype(vectors, dtype)
    assert (caught.value.type.name, caught.value.where) == ("invalid_request", "dtype")
    assert caught.value.message == (
        "expected values within 65504, which float16 can hold, got 70000: ask for float32"
    )

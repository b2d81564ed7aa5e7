"""What numpy reads from an .npz reply, without pickle."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from service.mixes import Choice, Mix
from service.replies.answers import Answer, Heading, MarkName
from service.replies.npz import npz_parts
from service.replies.pooling import Span
from service.schemas import Text

MIX = Mix((0.25, 0.75), 2.0)
INPUTS: list[Text] = ["가 b😀", ["x", "yz"]]
STRING_TOKENS = [Span(text="가", start=0, end=1), Span(text="b😀", start=2, end=4)]
WORD_TOKENS = [Span(text="x", start=0, end=1, word=0), Span(text="yz", start=0, end=2, word=1)]


def written(choice: Choice, told: Sequence[Answer], marks: MarkName | None = None) -> bytes:
    heading = Heading("enko", dimension=3, num_layers=2, choice=choice)
    return b"".join(npz_parts(heading, marks, INPUTS[: len(told)], told))


def read(
    choice: Choice, told: Sequence[Answer], marks: MarkName | None = None
) -> dict[str, npt.NDArray[Any]]:
    with np.load(io.BytesIO(written(choice, told, marks)), allow_pickle=False) as archive:
        return dict(archive)


def rows(*shape: int, dtype: str = "<f4") -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape).astype(dtype)


def described(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, object]:
    return {name: (array.dtype.str, array.tolist()) for name, array in arrays.items()}


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_one_mix(dtype: str) -> None:
    one, other = rows(2, 3, dtype=dtype), -rows(1, 3, dtype=dtype)
    arrays = read(MIX, [Answer(STRING_TOKENS, one, None), Answer(WORD_TOKENS, other, None)])
    assert described(arrays) == {
        "vectors": (dtype, [*one.tolist(), *other.tolist()]),
        "row_offsets": ("<i8", [0, 2, 3]),
        "token_offsets": ("<i8", [0, 2, 4]),
        "token_starts": ("<i4", [0, 2, 0, 0]),
        "token_ends": ("<i4", [1, 4, 1, 2]),
        "token_words": ("<i4", [-1, -1, 0, 1]),
        "token_text": ("|u1", list("가b😀xyz".encode())),
        "token_text_offsets": ("<i8", [0, 3, 8, 9, 11]),
        "layer_weights": ("<f8", [0.25, 0.75]),
        "gamma": ("<f8", 2.0),
        "model": ("<U4", "enko"),
    }


def test_rows_and_texts_by_their_offsets() -> None:
    one, other = rows(2, 3), -rows(1, 3)
    arrays = read(MIX, [Answer(STRING_TOKENS, one, None), Answer(WORD_TOKENS, other, None)])
    parts = np.split(arrays["vectors"], arrays["row_offsets"][1:-1])
    assert [part.tolist() for part in parts] == [one.tolist(), other.tolist()]
    text = arrays["token_text"].tobytes()
    tokens = [text[start:end].decode() for start, end in pairwise(arrays["token_text_offsets"])]
    assert tokens == ["가", "b😀", "x", "yz"]


def test_all_layers_are_the_first_axis() -> None:
    one, other = rows(2, 2, 3), -rows(2, 1, 3)
    arrays = read(None, [Answer(STRING_TOKENS, one, None), Answer(WORD_TOKENS, other, None)])
    np.testing.assert_array_equal(arrays["vectors"], np.concatenate([one, other], axis=1))
    assert "layer_weights" not in arrays
    assert "tasks" not in arrays
    assert arrays["gamma"].tolist() == 1.0


def test_tasks_are_the_first_axis_and_named() -> None:
    one, other = rows(2, 2, 3), -rows(2, 1, 3)
    told = [Answer(STRING_TOKENS, one, None), Answer(WORD_TOKENS, other, None)]
    arrays = read({"품사": MIX, "sense": Mix((1.0, 0.0))}, told)
    np.testing.assert_array_equal(arrays["vectors"], np.concatenate([one, other], axis=1))
    assert arrays["tasks"].tolist() == ["품사", "sense"]
    assert arrays["layer_weights"].tolist() == [[0.25, 0.75], [1.0, 0.0]]
    assert arrays["gamma"].tolist() == [2.0, 1.0]


def test_words_of_strings_and_of_lists() -> None:
    words = [Span(text="가", start=0, end=1), Span(text="b😀", start=2, end=4)]
    told = [Answer(STRING_TOKENS, rows(2, 3), words), Answer(WORD_TOKENS, rows(2, 3), None)]
    arrays = read(MIX, told, "words")
    assert described({name: arrays[name] for name in ("row_offsets", "row_starts", "row_ends")}) == {
        "row_offsets": ("<i8", [0, 2, 4]),
        "row_starts": ("<i4", [0, 2, 0, 0]),
        "row_ends": ("<i4", [1, 4, 1, 2]),
    }


def test_no_rows_at_all() -> None:
    arrays = read(MIX, [Answer(STRING_TOKENS, rows(0, 3), [])], "spans")
    assert arrays["vectors"].shape == (0, 3)
    assert arrays["row_offsets"].tolist() == [0, 0]
    assert (arrays["row_starts"].tolist(), arrays["row_ends"].tolist()) == ([], [])


def test_vectors_are_not_copied_and_bytes_are_the_same_each_time() -> None:
    one = rows(2, 3)
    told = [Answer(STRING_TOKENS, one, None)]
    heading = Heading("enko", dimension=3, num_layers=2, choice=MIX)
    parts = npz_parts(heading, None, INPUTS[:1], told)
    views = [np.asarray(part) for part in parts if isinstance(part, memoryview)]
    assert any(np.shares_memory(view, one) for view in views)
    assert written(MIX, told) == written(MIX, told)

"""POST /v1/embed: whole replies, to the last value, through the real queue and a fake model."""

from __future__ import annotations

import base64
import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest

from tests.patience import PATIENCE_S
from tests.service.conftest import serving_runtime, wait_until
from tests.service.fake_backend import FakeRuntime, expected_vector, number
from tests.service.routes.asking import embed


def test_a_string_and_a_list_of_words(client: httpx.Client) -> None:
    assert embed(client, "강에서 배를", ["in-to", "it"], layer="top") == {
        "model": "fake",
        "dimension": 4,
        "layer_weights": [0.0, 0.0, 1.0],
        "gamma": 1.0,
        "embeddings": [
            {
                "tokens": [
                    {"text": "강에서", "start": 0, "end": 3},
                    {"text": "배를", "start": 4, "end": 6},
                ],
                "vectors": [expected_vector("강에서", 2, 2, 0), expected_vector("배를", 2, 2, 1)],
                "num_tokens": 2,
            },
            {
                "tokens": [
                    {"text": "in", "start": 0, "end": 2, "word": 0},
                    {"text": "-to", "start": 2, "end": 5, "word": 0},
                    {"text": "it", "start": 0, "end": 2, "word": 1},
                ],
                "vectors": [
                    expected_vector("in", 2, 3, 0),
                    expected_vector("-to", 2, 3, 1),
                    expected_vector("it", 2, 3, 2),
                ],
                "num_tokens": 3,
            },
        ],
    }


def test_the_default_is_the_average_of_the_layers(client: httpx.Client) -> None:
    reply = embed(client, "@")
    assert reply == embed(client, "@", layer="average")
    assert reply["layer_weights"] == [1 / 3, 1 / 3, 1 / 3]
    np.testing.assert_allclose(reply["embeddings"][0]["vectors"], [[64, 0, 1, 0]], rtol=1e-6)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_one_layer_by_number(client: httpx.Client, layer: int) -> None:
    reply = embed(client, "a b", layer=layer)
    assert reply["layer_weights"] == [float(layer == 0), float(layer == 1), float(layer == 2)]
    assert reply["embeddings"][0]["vectors"] == [
        expected_vector("a", layer, 2, 0),
        expected_vector("b", layer, 2, 1),
    ]


def test_all_layers_side_by_side(client: httpx.Client) -> None:
    reply = embed(client, "a b", layer="all")
    assert (reply["layer_weights"], reply["gamma"]) == (None, 1.0)
    assert reply["embeddings"][0]["vectors"] == [
        [expected_vector("a", layer, 2, 0), expected_vector("b", layer, 2, 1)] for layer in range(3)
    ]


def test_an_inline_mix(client: httpx.Client) -> None:
    reply = embed(client, "@", mix={"weights": [1, 0.5, -0.25], "gamma": 2})
    assert (reply["layer_weights"], reply["gamma"]) == ([1.0, 0.5, -0.25], 2.0)
    # (1 + 0.5 - 0.25) x 2 of what is the same in all layers; layer numbers 0, 1, 2 weighted give 0
    assert reply["embeddings"][0]["vectors"] == [[64 * 2.5, 0.0, 0.0, 0.0]]


def test_scalars_through_softmax(client: httpx.Client) -> None:
    reply = embed(client, "@", mix={"scalars": [0, 0, -1e6]})
    assert (reply["layer_weights"], reply["gamma"]) == ([0.5, 0.5, 0.0], 1.0)
    assert reply["embeddings"][0]["vectors"] == [[64.0, 0.0, 0.5, 0.0]]


def test_words_of_a_string_are_listed_and_those_of_a_list_are_not(client: httpx.Client) -> None:
    string, words = embed(client, "a b", ["a-c", "b"], layer=0, pool="word")["embeddings"]
    assert string == {
        "tokens": [{"text": "a", "start": 0, "end": 1}, {"text": "b", "start": 2, "end": 3}],
        "words": [{"text": "a", "start": 0, "end": 1}, {"text": "b", "start": 2, "end": 3}],
        "vectors": [expected_vector("a", 0, 2, 0), expected_vector("b", 0, 2, 1)],
        "num_tokens": 2,
    }
    mean = [(number("a") + number("-c")) / 2, 0.5, 0.0, 1.5]
    assert words["vectors"] == [mean, expected_vector("b", 0, 3, 2)]
    assert "words" not in words


@pytest.mark.parametrize(
    ("pool", "row"),
    [
        ("sentence", [97.0, 1.0, 0.0, 1.0]),
        ("sentence_max", [98.0, 2.0, 0.0, 2.0]),
        ("sentence_first", [96.0, 0.0, 0.0, 2.0]),
        ("sentence_last", [97.0, 2.0, 0.0, 0.0]),
    ],
)
def test_one_row_for_a_sentence(client: httpx.Client, pool: str, row: list[float]) -> None:
    assert embed(client, "` b a", layer=0, pool=pool)["embeddings"][0]["vectors"] == [row]
    layers = embed(client, "` b a", layer="all", pool=pool)["embeddings"][0]["vectors"]
    assert layers[0] == [row]
    assert np.array(layers).shape == (3, 1, 4)


def test_normalized_rows(client: httpx.Client) -> None:
    rows = np.array(embed(client, "a b", normalize=True)["embeddings"][0]["vectors"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layer", [0, "all"])
def test_base64_has_the_same_values_with_shape_and_dtype(
    client: httpx.Client, dtype: str, layer: object
) -> None:
    (numbers,) = embed(client, "a bc", layer=layer, dtype=dtype)["embeddings"]
    (packed,) = embed(client, "a bc", layer=layer, dtype=dtype, encoding="base64")["embeddings"]
    assert packed["dtype"] == dtype
    assert packed["shape"] == ([2, 4] if layer == 0 else [3, 2, 4])
    values = np.frombuffer(base64.b64decode(packed["vectors"]), dtype=np.dtype(dtype).newbyteorder("<"))
    assert values.reshape(packed["shape"]).tolist() == numbers["vectors"]
    assert packed.keys() - numbers.keys() == {"shape", "dtype"}


def test_a_reply_keeps_the_order_of_its_request(client: httpx.Client) -> None:
    """Lengths are shuffled so that batching by length would show."""
    sentences = [" ".join("a" * (i % 7 + 1)) for i in range(200)]
    random.Random(0).shuffle(sentences)
    reply = embed(client, *sentences, layer=1)
    for sentence, embedding in zip(sentences, reply["embeddings"], strict=True):
        length = len(sentence.split())
        assert embedding["vectors"] == [expected_vector("a", 1, length, t) for t in range(length)]


def test_requests_with_different_mixes_share_a_batch(runtime: FakeRuntime) -> None:
    with serving_runtime(runtime) as client, ThreadPoolExecutor(8) as threads:
        runtime.may_run.clear()
        first = threads.submit(embed, client, "first")
        assert runtime.running.wait(PATIENCE_S)
        waiting = [threads.submit(embed, client, "a b", layer=layer) for layer in (0, 1, 2, "average")]
        wait_until(lambda: runtime.queue_depth() == 4 * 4)
        runtime.may_run.set()
        for layer, future in zip((0, 1, 2, 1), waiting, strict=True):
            vectors = np.array(future.result(PATIENCE_S)["embeddings"][0]["vectors"])
            expected = [expected_vector("a", layer, 2, 0), expected_vector("b", layer, 2, 1)]
            np.testing.assert_allclose(vectors, expected, rtol=1e-6)
        first.result(PATIENCE_S)
    assert runtime.batches == [[3], [4, 4, 4, 4]]

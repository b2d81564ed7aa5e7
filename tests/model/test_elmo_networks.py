"""Published ELMos of every shape that their formats allow, as they are served, against plain numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.bundle import BundleError
from model.imports.allennlp import read_allennlp
from model.imports.manylangs import read_manylangs
from model.runtime import Floats, Runtime
from model.scalar_mix import mix
from tests.model.elmo_numpy import BilmTf, Elmo, ManyLangs
from tests.model.imports.imported import write
from tests.model.imports.random_checkpoints import WORDS, random_allennlp, random_manylangs
from tests.model.served_elmo import ServedElmo

TOLERANCE = 2e-5
"""Of the float64 reference, for values up to about 10."""

INVARIANCE = 1e-5

SENTENCES = [
    ["bank"],
    ["the", "bank", "은행", "은행에서", "x"],
    ["a" * 70, "<S>", "</S>", "<bos>", "😀😀😀😀😀😀😀😀", "é", "\u3000", " ", "banana", "은" * 40, "k"],
    ["b", "an"],
    [f"word{i % 37}" for i in range(61)],
    ["the"] * 8,
]

WIDE = ((1, 4), (2, 4), (3, 8), (7, 6))
NOT_SORTED = ((3, 5), (1, 3), (5, 2))

BILM_TF: dict[str, dict[str, Any]] = {
    "as published": {"cell": 24, "projection": 8, "filters": WIDE, "num_highways": 2, "max_characters": 50},
    "korean": {"cell": 32, "projection": 4, "filters": WIDE, "num_highways": 2, "max_characters": 30},
    "tanh, no highway": {"activation": "tanh", "num_highways": None, "filters": NOT_SORTED},
    "tanh, highways": {"activation": "tanh", "num_highways": 2},
    "no projection of characters": {"projection": 12, "cell": 20},
    "square": {"cell": 8},
    "square, no projection of characters": {"cell": 12, "projection": 12},
    "square, no clips": {"cell": 8, "clips": (None, None)},
    "square, no clips, no skips": {"cell": 8, "clips": (None, None), "skip": False},
    "square, tight clip": {"cell": 8, "clips": (0.1, 0.02), "scale": 0.8},
    "no clips": {"clips": (None, None), "scale": 0.8},
    "only the cell is clipped": {"clips": (0.2, None), "scale": 0.8},
    "only the projection is clipped": {"clips": (None, 0.05), "scale": 0.8},
    "tight clips": {"clips": (0.2, 0.05), "scale": 0.8},
    "no skips": {"skip": False, "num_layers": 3},
    "one layer": {"num_layers": 1},
    "three layers": {"num_layers": 3, "clips": (0.3, 0.1), "scale": 1.0},
    "rows as short as the widest filter": {"max_characters": 8, "filters": ((8, 5), (1, 3)), "num_layers": 1},
    "a projection wider than the cell": {"cell": 4, "projection": 10},
}

MANY_LANGS: dict[str, dict[str, Any]] = {
    "as published": {"filters": WIDE, "num_highways": 2, "max_characters": 50, "cell": 24},
    "no words": {"word_dim": 0},
    "no highway": {"num_highways": 0, "activation": "tanh"},
    "tight clips": {"clips": (0.2, 0.05), "scale": 0.8, "num_layers": 3},
    "no clips": {"clips": (None, None), "num_layers": 1, "max_characters": 30},
    "a projection as wide as the cell": {"cell": 8, "projection": 8},
}


def bilm_tf(folder: Path, **shape: Any) -> tuple[BilmTf, ServedElmo]:
    source = random_allennlp(**shape)
    bundle = write(read_allennlp(*source.write(folder / "source")), folder / "bundle")
    return BilmTf(source.options, source.arrays), ServedElmo(bundle)


def many_langs(folder: Path, **shape: Any) -> tuple[ManyLangs, ServedElmo]:
    source = random_manylangs(**shape)
    bundle = write(read_manylangs(source.write(folder / "source")), folder / "bundle")
    characters = {character: i for i, character in enumerate(source.characters)}
    words = {word: i for i, word in enumerate(WORDS)}
    plain = ManyLangs(source.config, source.embedder, source.encoder, characters, words)
    return plain, ServedElmo(bundle)


def assert_same(plain: Elmo, served: ServedElmo, sentences: list[list[str]]) -> None:
    for words, found in zip(sentences, served.layers(sentences), strict=True):
        np.testing.assert_allclose(found, plain.layers(words), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", BILM_TF.values(), ids=BILM_TF)
def test_bilm_tf(tmp_path: Path, shape: dict[str, Any]) -> None:
    assert_same(*bilm_tf(tmp_path, **shape), SENTENCES)


@pytest.mark.parametrize("shape", MANY_LANGS.values(), ids=MANY_LANGS)
def test_many_langs(tmp_path: Path, shape: dict[str, Any]) -> None:
    """<bos> and <eos> as a user's words are no boundaries here, which the original made of them."""
    plain, served = many_langs(tmp_path, **shape)
    sentences = [[word for word in words if word not in ("<bos>", "<eos>")] for words in SENTENCES]
    assert_same(plain, served, sentences)


def test_tight_clips_bite(tmp_path: Path) -> None:
    """What the tests above compare would be another without them."""
    shape = BILM_TF["tight clips"]
    _, served = bilm_tf(tmp_path / "clipped", **shape)
    _, free = bilm_tf(tmp_path / "free", **(shape | {"clips": (None, None)}))
    clipped, unclipped = (each.layers(SENTENCES[1:2])[0] for each in (served, free))
    assert np.abs(clipped[1]).max() == np.float32(0.05)
    assert np.abs(clipped[1:] - unclipped[1:]).max() > 0.5


@pytest.fixture(scope="module", params=["projected", "projected, one thread", "square, clipped", "square"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ServedElmo:
    square = {"cell": 8, "projection": 8}
    clips = {"clips": (None, None)} if request.param == "square" else {"clips": (0.4, 0.3), "scale": 1.0}
    shape: dict[str, Any] = (square if "square" in request.param else {}) | clips
    source = random_allennlp(num_layers=3, **shape).write(tmp_path_factory.mktemp("source"))
    bundle = write(read_allennlp(*source), tmp_path_factory.mktemp("imported") / "bundle")
    return ServedElmo(bundle, num_threads=1 if "one thread" in request.param else 2)


def test_padding_neighbours_and_order_change_nothing(served: ServedElmo) -> None:
    together = served.layers(SENTENCES)
    order = [3, 0, 5, 1, 4, 2]
    for i, found in zip(order, served.layers([SENTENCES[i] for i in order]), strict=True):
        np.testing.assert_allclose(found, together[i], rtol=0, atol=INVARIANCE)
    for words, found in zip(SENTENCES, together, strict=True):
        np.testing.assert_allclose(served.layers([words])[0], found, rtol=0, atol=INVARIANCE)


def test_token_vectors_do_not_depend_on_the_longest_word(served: ServedElmo) -> None:
    """Rows are cut after the last of their ids that differ, at another place in every batch."""
    words = ["b", "bank", "a" * 70]
    together = served.token_vectors(words)
    for i, word in enumerate(words):
        alone = served.token_vectors([word])
        np.testing.assert_allclose(alone[1], together[1 + i], rtol=0, atol=INVARIANCE)


@pytest.mark.parametrize("longest", [1, 2, 7, 20, 62])
def test_slices_are_the_whole(served: ServedElmo, longest: int) -> None:
    x_TBD, lengths_B = served.batch(SENTENCES)
    expected = served.runtime.layers(np.nan_to_num(x_TBD), lengths_B)
    num_sentences, half = len(SENTENCES), served.architecture.hidden_dim
    layers = np.zeros_like(expected)
    state = served.runtime.first_state(num_sentences)
    rows, num_read = np.arange(num_sentences), 0
    while len(rows):
        lengths = np.minimum(lengths_B[rows] - num_read, longest)
        forward = np.full((lengths.max(), len(rows), half), np.nan, dtype=np.float32)
        backward = forward.copy()
        ends = lengths_B[rows] - num_read
        for b, (row, length, end) in enumerate(zip(rows, lengths, ends, strict=True)):
            forward[:length, b] = x_TBD[num_read : num_read + length, row]
            backward[:length, b] = x_TBD[end - length : end, row]
        found, state = served.runtime.layer_slices(forward, backward, lengths, state)
        for b, (row, length, end) in enumerate(zip(rows, lengths, ends, strict=True)):
            layers[:, num_read : num_read + length, row, :half] = found[:, :length, b, :half]
            layers[:, end - length : end, row, half:] = found[:, :length, b, half:]
        num_read += longest
        left = np.flatnonzero(lengths_B[rows] > num_read)
        rows, state = rows[left], np.ascontiguousarray(state[..., left, :])
    np.testing.assert_allclose(layers, expected, rtol=0, atol=INVARIANCE)


def test_a_state_lies_as_the_architecture_says(served: ServedElmo) -> None:
    """A sentence that has ended keeps its own to the last bit, whatever its neighbours go on with."""
    x_TBD, lengths_B = served.batch(SENTENCES)
    _, state = served.runtime.layer_slices(x_TBD, x_TBD, lengths_B, served.runtime.first_state(6))
    *parts, size = served.architecture.state_shape
    assert state.shape == (*parts, 6, size)
    layers_LTBD = served.runtime.layers(np.nan_to_num(x_TBD), lengths_B)
    half = served.architecture.hidden_dim
    for b, length in enumerate(lengths_B):
        for direction, position, columns in ((0, length - 1, slice(half)), (1, 0, slice(half, None))):
            np.testing.assert_allclose(
                state[0, 0, direction, b, :half],
                layers_LTBD[1, position, b, columns],
                rtol=0,
                atol=INVARIANCE,
            )


def mixed(served: ServedElmo, weights_BL: Floats, gamma_B: Floats) -> Floats:
    x_TBD, lengths_B = served.batch(SENTENCES)
    state = served.runtime.first_state(len(SENTENCES))
    vectors, _ = served.runtime.mix_slices(x_TBD, x_TBD, lengths_B, state, weights_BL, gamma_B)
    return vectors


def test_every_sentence_has_its_own_mix(served: ServedElmo) -> None:
    generator = np.random.default_rng(0)
    weights_BL = generator.standard_normal((len(SENTENCES), 4)).astype(np.float32)
    gamma_B = generator.uniform(0.5, 2, len(SENTENCES)).astype(np.float32)
    vectors_TBD = mixed(served, weights_BL, gamma_B)
    for b, layers_LTD in enumerate(served.layers(SENTENCES)):
        expected = mix(layers_LTD, weights_BL[b], float(gamma_B[b]))
        found = vectors_TBD[1 : 1 + len(SENTENCES[b]), b]
        np.testing.assert_allclose(found, expected, rtol=0, atol=INVARIANCE)


def test_a_network_without_a_softmax_has_no_probabilities(served: ServedElmo) -> None:
    with pytest.raises(ValueError, match=r"^vocabulary_size: expected a network with a softmax, got one "):
        served.runtime.log_probabilities(np.zeros((1, 8), dtype=np.float32))


def test_words_and_rows_that_do_not_fit(tmp_path: Path) -> None:
    _, words = many_langs(tmp_path / "words")
    _, none = bilm_tf(tmp_path / "none")
    rows = np.full((2, 9), 1, dtype=np.int32)
    ids = np.zeros(2, dtype=np.int32)
    with pytest.raises(ValueError, match=r"^word_ids_N: expected int32 \(2\), got None$"):
        words.runtime.token_vectors(rows)
    with pytest.raises(ValueError, match=r"^word_ids_N: expected None, got array\(\[0, 0\], dtype=int32\)$"):
        none.runtime.token_vectors(rows, ids)
    with pytest.raises(ValueError, match=r"^word_ids_N: expected int32 \(2\), got int32 \(1,\)$"):
        words.runtime.token_vectors(rows, ids[:1])
    with pytest.raises(ValueError, match=r"^word_ids_N: expected values from 0 to 8, got 9$"):
        words.runtime.token_vectors(rows, ids + np.int32(9))
    with pytest.raises(ValueError, match=r"^char_ids_NC: expected int32 \(N, 9\), got int32 \(2, 8\)$"):
        none.runtime.token_vectors(rows[:, 1:])
    for runtime, more in ((words.runtime, [ids]), (none.runtime, [])):
        np.testing.assert_array_equal(runtime.token_vectors(rows * np.int32(0), *more), np.zeros((2, 8)))


def test_weights_of_half_precision_are_computed_with_in_float32(tmp_path: Path) -> None:
    shape = BILM_TF["as published"]
    source = random_allennlp(**shape)
    rounded = {name: array.astype(np.float16).astype(np.float32) for name, array in source.arrays.items()}
    # The bias is rounded after the forget gate's 1 has been added: zeros are the same both ways.
    for name in rounded:
        if name.endswith("/B"):
            source.arrays[name][:] = rounded[name] = np.zeros_like(rounded[name])
    bundle = write(read_allennlp(*source.write(tmp_path / "source")), tmp_path / "bundle", "float16")
    assert_same(BilmTf(source.options, rounded), ServedElmo(bundle), SENTENCES)


def test_there_is_no_int8(tmp_path: Path) -> None:
    bundle = write(read_allennlp(*random_allennlp().write(tmp_path / "source")), tmp_path / "bundle")
    message = (
        r"expected context_encoder\.int8\.onnx for int8, found none; LSTMs that are projected or clipped "
    )
    with pytest.raises(BundleError, match=message):
        Runtime(bundle, 1, "int8")

"""One batch through the fake model: exact vectors, mixes side by side, new tokens computed once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.backend import Floats, Integers
from service.engine import BadVectors, Engine, Sentence
from service.mixes import Mix
from tests.service.fake_backend import NUM_LAYERS, FakeRuntime, expected_vector, fake_backend, number

SENTENCES = st.lists(
    st.tuples(
        st.lists(st.text("abc가", min_size=1, max_size=4), min_size=1, max_size=6),
        st.none() | st.builds(Mix, st.tuples(*[st.integers(-3, 3).map(float)] * NUM_LAYERS), st.just(2.0)),
    ),
    min_size=1,
    max_size=6,
)


def expected(tokens: list[str], mix: Mix | None) -> Floats:
    """Return (T, 2H), or (L, T, 2H) without a mix, by the formula."""
    layers_LTH = np.array(
        [
            [expected_vector(token, layer, len(tokens), t) for t, token in enumerate(tokens)]
            for layer in range(NUM_LAYERS)
        ],
        dtype=np.float32,
    )
    if mix is None:
        return layers_LTH
    return (mix.gamma * np.tensordot(mix.weights, layers_LTH, 1)).astype(np.float32)


@given(SENTENCES, st.integers(0, 5))
def test_every_sentence_gets_its_own_mix(
    batch: list[tuple[list[str], Mix | None]], cache_tokens: int
) -> None:
    engine = Engine(fake_backend(), cache_tokens)
    for _ in range(2):  # the second time from the cache
        results = engine([Sentence(tokens, mix) for tokens, mix in batch])
        for (tokens, mix), result in zip(batch, results, strict=True):
            assert not isinstance(result, Exception)
            np.testing.assert_allclose(result, expected(tokens, mix), rtol=1e-6)


def test_mixed_and_whole_sentences_are_two_runs(runtime: FakeRuntime) -> None:
    engine = Engine(fake_backend(runtime=runtime), 16)
    mix = Mix((1.0, 0.0, 0.0))
    engine([Sentence("ab", mix), Sentence("abc", None), Sentence("a", mix)])
    assert runtime.batches == [[4, 3], [5]]


def test_each_distinct_token_is_computed_once(runtime: FakeRuntime) -> None:
    engine = Engine(fake_backend(runtime=runtime), 16)
    mix = Mix((1.0, 0.0, 0.0))
    engine([Sentence(["a", "b", "a"], mix), Sentence(["b", "c"], mix)])
    engine([Sentence(["c", "d"], mix)])
    assert runtime.cnn_runs == [1, 3, 1]  # the boundary, then what is new


def test_a_sentence_without_finite_vectors_fails_alone(runtime: FakeRuntime) -> None:
    runtime.nan_on = number("bad")
    engine = Engine(fake_backend(runtime=runtime), 16)
    mix = Mix((1.0, 0.0, 0.0))
    good, bad = engine([Sentence(["a"], mix), Sentence(["b", "bad"], mix)])
    assert isinstance(bad, BadVectors)
    np.testing.assert_array_equal(good, [expected_vector("a", 0, 1, 0)])


def test_a_token_vector_that_is_not_finite_is_never_kept() -> None:
    class Runtime(FakeRuntime):
        broken = False

        def token_vectors(self, char_ids_NC: Integers) -> Floats:
            return super().token_vectors(char_ids_NC) * (np.nan if self.broken else 1)

    runtime = Runtime()
    engine = Engine(fake_backend(runtime=runtime), 16)
    runtime.broken = True
    with pytest.raises(BadVectors):
        engine([Sentence(["a"], Mix((1.0, 0.0, 0.0)))])
    runtime.broken = False
    (result,) = engine([Sentence(["a"], Mix((1.0, 0.0, 0.0)))])
    np.testing.assert_array_equal(result, [expected_vector("a", 0, 1, 0)])

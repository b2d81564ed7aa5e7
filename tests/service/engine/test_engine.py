"""Batches through the fake model: exact values of every kind of sentence, whole and in slices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokenizer import Tokenized
from service.engine.backend import Floats, Integers
from service.engine.engine import BadVectors, Engine
from service.engine.observer import EngineObserver, Unobserved
from service.engine.outcomes import UNFINISHED
from service.engine.sentences import Blank, Embedding, Scores, Scoring, Sentence
from service.mixes import Mix
from tests.service.fake_backend import (
    NUM_LAYERS,
    PIECES,
    FakeRuntime,
    FakeTokenizer,
    expected_log_probability,
    expected_vector,
    fake_backend,
    number,
)
from tests.service.gated_engine import Notes

FIRST_LAYER = Mix((1.0, 0.0, 0.0))
WHOLE = 1000
BOUNDARY_ID = 1
BOUNDARY_NUMBER = -1.0

TOKENS = st.lists(st.text("abc가", min_size=1, max_size=4), min_size=1, max_size=12)
MIXES = st.none() | st.builds(Mix, st.tuples(*[st.integers(-3, 3).map(float)] * NUM_LAYERS), st.just(2.0))


def an_engine(runtime: FakeRuntime | None = None, cache_tokens: int = 16, observer: object = None) -> Engine:
    assert observer is None or isinstance(observer, Notes)
    watching: EngineObserver = observer or Unobserved()
    return Engine(fake_backend(runtime=runtime), cache_tokens, watching)


def run_to_the_end(engine: Engine, sentences: Sequence[Sentence[Any]], seed: int = 0) -> list[Any]:
    """Run batches of what is left, in a new order each time, and return every result."""
    shuffle = random.Random(seed).shuffle
    results: dict[int, Any] = {}
    while left := [i for i in range(len(sentences)) if i not in results]:
        shuffle(left)
        outcomes = dict(engine([sentences[i] for i in left]))
        assert outcomes.keys() == set(range(len(left)))
        results.update({left[b]: outcome for b, outcome in outcomes.items() if outcome is not UNFINISHED})
    return [results[i] for i in range(len(sentences))]


def expected_vectors(tokens: Sequence[str], mix: Mix | None) -> Floats:
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


def halves(tokens: Sequence[str]) -> tuple[list[list[float]], list[list[float]]]:
    """Return the top layer's forward and backward half at every position, boundaries included."""
    numbers = [BOUNDARY_NUMBER, *map(number, tokens), BOUNDARY_NUMBER]
    forward = [[value, position - 1.0] for position, value in enumerate(numbers)]
    backward = [[NUM_LAYERS - 1.0, len(tokens) - position - 0.0] for position in range(len(numbers))]
    return forward, backward


def expected_scores(tokenized: Tokenized) -> tuple[list[float], list[float]]:
    forward, backward = halves(tokenized.surfaces)
    ids = [BOUNDARY_ID, *tokenized.ids, BOUNDARY_ID]
    return (
        [expected_log_probability(forward[t], ids[t + 1]) for t in range(len(ids) - 1)],
        [expected_log_probability(backward[t + 1], ids[t]) for t in range(len(ids) - 1)],
    )


@given(st.lists(st.tuples(TOKENS, MIXES, st.integers(1, 15)), min_size=1, max_size=6), st.integers(0, 5))
def test_every_sentence_gets_its_own_mix_whatever_its_slices(
    batch: list[tuple[list[str], Mix | None, int]], cache_tokens: int
) -> None:
    engine = an_engine(cache_tokens=cache_tokens)
    for seed in range(2):  # the second time from the cache
        sentences = [Embedding(tokens, mix, longest) for tokens, mix, longest in batch]
        results = run_to_the_end(engine, sentences, seed)
        for (tokens, mix, _), result in zip(batch, results, strict=True):
            assert isinstance(result, np.ndarray)
            np.testing.assert_allclose(result, expected_vectors(tokens, mix), rtol=1e-6)


@given(st.lists(st.tuples(TOKENS, st.integers(1, 15)), min_size=1, max_size=6), st.integers(0, 9))
def test_scores_are_of_what_comes_next_and_of_what_came_before(
    batch: list[tuple[list[str], int]], seed: int
) -> None:
    tokenized = [FakeTokenizer().tokenize(" ".join(tokens)) for tokens, _ in batch]
    sentences: list[Sentence[Any]] = [
        Scoring(tokens, NUM_LAYERS, longest) for tokens, (_, longest) in zip(tokenized, batch, strict=True)
    ]
    sentences.append(Embedding(["a"], FIRST_LAYER, WHOLE))  # they share runs with others
    *results, _ = run_to_the_end(an_engine(), sentences, seed)
    for tokens, result in zip(tokenized, results, strict=True):
        assert isinstance(result, Scores)
        forward, backward = expected_scores(tokens)
        np.testing.assert_allclose(result.forward, forward, rtol=1e-6)
        np.testing.assert_allclose(result.backward, backward, rtol=1e-6)


@given(TOKENS | st.just([]), TOKENS | st.just([]), st.integers(1, 15))
def test_a_blank_is_seen_from_both_sides(before: list[str], after: list[str], longest: int) -> None:
    left, right = (FakeTokenizer().tokenize(" ".join(tokens)) for tokens in (before, after))
    (result,) = run_to_the_end(an_engine(), [Blank(left, right, NUM_LAYERS, len(PIECES), longest)])
    forward, backward = halves(left.surfaces + right.surfaces)
    ids = range(len(PIECES))
    expected = [expected_log_probability(forward[len(before)], i) for i in ids]
    np.testing.assert_allclose(result.forward, expected, rtol=1e-6)
    expected = [expected_log_probability(backward[len(before) + 1], i) for i in ids]
    np.testing.assert_allclose(result.backward, expected, rtol=1e-6)


def test_a_sentence_without_tokens_is_two_boundaries() -> None:
    nothing = FakeTokenizer().tokenize("")
    (result,) = run_to_the_end(an_engine(), [Scoring(nothing, NUM_LAYERS, WHOLE)])
    forward, backward = expected_scores(nothing)
    np.testing.assert_allclose(result.forward, forward)
    np.testing.assert_allclose(result.backward, backward)


def test_mixed_and_whole_sentences_are_two_runs_and_short_ones_go_first(runtime: FakeRuntime) -> None:
    engine = an_engine(runtime)
    sentences = [
        Embedding(tokens, mix, WHOLE)
        for tokens, mix in (("a" * 99, FIRST_LAYER), ("ab", FIRST_LAYER), ("abc", None), ("a", FIRST_LAYER))
    ]
    assert [i for i, _ in engine(sentences)] == [3, 1, 0, 2]
    assert runtime.batches == [[3, 4], [101], [5]]


def test_a_document_and_a_short_sentence_of_its_slice_s_length_share_a_run(runtime: FakeRuntime) -> None:
    document = Embedding(list("abcdefgh"), FIRST_LAYER, 5)
    short = Embedding(list("abc"), FIRST_LAYER, 5)
    assert dict(an_engine(runtime)([document, short])).keys() == {0, 1}
    assert runtime.batches == [[5, 5]]
    assert (document.num_tokens, short.num_tokens) == (5, 0)


def test_each_distinct_token_is_computed_once(runtime: FakeRuntime) -> None:
    notes = Notes()
    engine = an_engine(runtime, observer=notes)
    for batch in ((["a", "b", "a"], ["b", "c"]), (["c", "d"],)):
        list(engine([Embedding(tokens, FIRST_LAYER, WHOLE) for tokens in batch]))
    assert runtime.cnn_runs == [2, 3, 1]  # the boundaries, then what is new
    assert notes.lookups == [(0, 3), (1, 1)]
    assert notes.batches == [(2, 9, 10), (1, 4, 4)]


def test_language_model_heads_run_for_a_group_together_in_bounded_chunks(runtime: FakeRuntime) -> None:
    tokens = FakeTokenizer().tokenize("a b c " * 50)
    run_to_the_end(an_engine(runtime), [Scoring(tokens, NUM_LAYERS, WHOLE) for _ in range(2)])
    assert runtime.batches == [[152, 152]]
    assert runtime.head_runs == [256, 256, 4 * 151 - 512]


def test_a_sentence_without_finite_vectors_fails_alone(runtime: FakeRuntime) -> None:
    runtime.nan_on = number("bad")
    sentences = [Embedding(["a"], FIRST_LAYER, WHOLE), Embedding(["b", "bad"], FIRST_LAYER, WHOLE)]
    good, bad = run_to_the_end(an_engine(runtime), sentences)
    assert isinstance(bad, BadVectors)
    np.testing.assert_array_equal(good, [expected_vector("a", 0, 1, 0)])


def test_a_document_fails_with_the_first_slice_that_is_not_finite(runtime: FakeRuntime) -> None:
    runtime.nan_on = number("bad")
    document = Embedding([*"abcdefgh", "bad", *"ab"], FIRST_LAYER, 3)
    (outcome,) = run_to_the_end(an_engine(runtime), [document])
    assert isinstance(outcome, BadVectors)
    assert runtime.batches == [[3], [3]]  # the backward direction meets it in its second slice


def test_log_probabilities_that_are_not_finite_fail_alone() -> None:
    class Runtime(FakeRuntime):
        def log_probabilities(self, hidden_NH: Floats) -> Floats:
            return np.where(hidden_NH[:, :1] == 2, np.nan, super().log_probabilities(hidden_NH))

    tokens = FakeTokenizer().tokenize("a")
    sentences: list[Sentence[Any]] = [
        Embedding(["a"], FIRST_LAYER, WHOLE),
        Scoring(tokens, NUM_LAYERS, WHOLE),
    ]
    good, bad = run_to_the_end(an_engine(Runtime()), sentences)
    assert isinstance(bad, BadVectors)
    np.testing.assert_array_equal(good, [expected_vector("a", 0, 1, 0)])


def test_a_run_that_raised_has_changed_no_sentence(runtime: FakeRuntime) -> None:
    runtime.raises_on = number("f")
    sentences = [Embedding(list("abcdefgh"), mix, 5) for mix in (FIRST_LAYER, None)]
    engine = an_engine(runtime)
    list(engine(sentences))
    for _ in range(2):
        with pytest.raises(RuntimeError):
            list(engine(sentences))
        assert [sentence.num_tokens for sentence in sentences] == [5, 5]
    runtime.raises_on = None
    for sentence, result in zip(sentences, run_to_the_end(engine, sentences), strict=True):
        np.testing.assert_allclose(result, expected_vectors("abcdefgh", sentence.mix))


def test_a_token_vector_that_is_not_finite_is_never_kept() -> None:
    class Runtime(FakeRuntime):
        broken = False

        def token_vectors(self, char_ids_NC: Integers, word_ids_N: Integers | None = None) -> Floats:
            return super().token_vectors(char_ids_NC, word_ids_N) * (np.nan if self.broken else 1)

    runtime = Runtime()
    engine = an_engine(runtime)
    runtime.broken = True
    sentence = Embedding(["a"], FIRST_LAYER, WHOLE)
    with pytest.raises(BadVectors):
        list(engine([sentence]))
    runtime.broken = False
    (result,) = run_to_the_end(engine, [sentence])
    np.testing.assert_array_equal(result, [expected_vector("a", 0, 1, 0)])


def test_a_finished_document_keeps_its_result_alone() -> None:
    document = Embedding(list("abcdefgh"), FIRST_LAYER, 5)
    run_to_the_end(an_engine(), [document])
    assert document.state is None
    assert (document.num_tokens, document.next_tokens) == (0, 0)

"""The whole path of a request in one process, with the fake model behind it: values, deadlines, giving up."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

from service.engine.embedder import Embedder
from service.engine.text_lanes import TextLanes
from service.errors import ServiceError
from service.mixes import Mix
from service.work import Work
from tests.service.conftest import fake_settings, wait_until
from tests.service.fake_backend import NUM_LAYERS, PIECES, FakeRuntime, expected_vector, fake_backend, number
from tests.service.gated_engine import TIMEOUT_S, Notes

FIRST_LAYER = Mix((1.0, 0.0, 0.0))

Result = TypeVar("Result")


class Model:
    """An embedder of a fake model, and who watches it."""

    def __init__(self, runtime: FakeRuntime, **changes: object) -> None:
        self.runtime = runtime
        self.notes = Notes()
        self.texts = TextLanes(2, 32768)
        settings = fake_settings(**{"stall_ms": 60_000, "hang_ms": 60_000, **changes})
        self.embedder = Embedder(fake_backend(runtime=runtime), settings, self.texts, self.notes)

    def close(self) -> None:
        self.runtime.may_run.set()
        self.embedder.close()
        self.texts.shutdown()


@pytest.fixture
def model(runtime: FakeRuntime) -> Iterator[Model]:
    model = Model(runtime)
    yield model
    model.close()


def ask(question: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(question, TIMEOUT_S))


def refusal(question: Coroutine[Any, Any, object]) -> tuple[str, str, str | None]:
    with pytest.raises(ServiceError) as caught:
        ask(question)
    return caught.value.type.name, caught.value.message, caught.value.where


@asynccontextmanager
async def busy(model: Model) -> AsyncIterator[None]:
    """Hold the engine in a batch of its own; whatever comes then queues."""
    model.runtime.may_run.clear()
    first = asyncio.create_task(model.embedder.encode(["first"], FIRST_LAYER, Work()))
    await asyncio.to_thread(model.runtime.running.wait, TIMEOUT_S)
    yield
    model.runtime.may_run.set()
    await first


def test_what_it_says_of_its_model(model: Model) -> None:
    embedder = model.embedder
    assert (embedder.name, embedder.dimension, embedder.num_layers) == ("fake", 4, NUM_LAYERS)
    assert embedder.sha256 == "0" * 64
    assert embedder.vocabulary == PIECES
    assert embedder.is_alive


def test_vectors_of_a_mix_and_of_every_layer(model: Model) -> None:
    work = Work()
    ((tokens, vectors),) = ask(model.embedder.encode(["a b"], FIRST_LAYER, work))
    assert tokens.surfaces == ["a", "b"]
    np.testing.assert_array_equal(vectors, [expected_vector("a", 0, 2, 0), expected_vector("b", 0, 2, 1)])
    ((_, layers),) = ask(model.embedder.encode([["a", "b"]], None, work))
    assert layers.shape == (NUM_LAYERS, 2, 4)
    assert work.timings.tokenize_s > 0
    assert work.timings.compute_s > 0


def test_scores_from_text_and_from_tokens_are_the_same(model: Model) -> None:
    texts = ["a b", "강에서 배를 c"]
    scored = ask(model.embedder.score(texts, Work()))
    tokenized = ask(model.embedder.tokenize(texts, Work()))
    again = ask(model.embedder.score_tokens(tokenized, Work()))
    assert [tokens for tokens, _ in scored] == tokenized
    for (_, scores), same in zip(scored, again, strict=True):
        np.testing.assert_array_equal(scores.forward, same.forward)
        np.testing.assert_array_equal(scores.backward, same.backward)


def test_the_filled_in_piece_has_the_probability_that_its_blank_gave_it(model: Model) -> None:
    left, right, filled = ask(model.embedder.tokenize(["a", "b c", "a d b c"], Work()))
    blank = ask(model.embedder.blank_distribution(left, right, Work()))
    (scores,) = ask(model.embedder.score_tokens([filled], Work()))
    piece = PIECES.index("d")
    assert blank.forward.shape == (len(PIECES),)
    assert (blank.forward[piece], blank.backward[piece]) == (scores.forward[1], scores.backward[2])


def test_nothing_to_score_is_no_score(model: Model) -> None:
    assert ask(model.embedder.score_tokens([], Work())) == []


def test_errors_say_where(model: Model) -> None:
    embedder = model.embedder
    model.runtime.nan_on = number("bad")
    blank = ("invalid_request", "expected text, got only characters that the tokenizer drops")
    assert refusal(embedder.encode(["a", "_"], FIRST_LAYER, Work())) == (*blank, "inputs[1]")
    assert refusal(embedder.tokenize(["_"], Work(), where="candidates")) == (*blank, "candidates[0]")
    failed = ("engine_failed", "the model gave no usable vectors for this input")
    assert refusal(embedder.encode(["a", "a bad"], FIRST_LAYER, Work())) == (*failed, "inputs[1]")
    assert refusal(embedder.score(["bad"], Work(), where="text")) == (*failed, "text[0]")


def test_a_request_that_has_its_vectors_is_all_that_holds_them(model: Model) -> None:
    work = Work()
    ((_, vectors),) = ask(model.embedder.encode(["a b"], FIRST_LAYER, work))
    held = weakref.ref(vectors)
    del vectors
    wait_until(lambda: gc.collect() >= 0 and held() is None)  # the engine's thread lets go a moment later
    work.cancel()  # it is too late, and changes nothing


def test_a_deadline_is_kept_while_the_engine_is_busy(model: Model) -> None:
    async def late() -> None:
        async with busy(model):
            with pytest.raises(ServiceError) as caught:
                await model.embedder.encode(["late"], FIRST_LAYER, Work(time.monotonic() + 0.02))
            assert caught.value.type.name == "deadline_exceeded"
            assert not model.runtime.may_run.is_set()

    ask(late())
    wait_until(lambda: model.notes.dropped_causes == ["deadline"])
    assert model.runtime.batches == [[3]]


def test_a_deadline_that_has_passed_already(model: Model) -> None:
    question = model.embedder.encode(["a"], FIRST_LAYER, Work(time.monotonic() - 1))
    assert refusal(question)[0] == "deadline_exceeded"


def test_what_nobody_waits_for_is_not_computed(model: Model) -> None:
    async def give_up() -> None:
        async with busy(model):
            unwanted = asyncio.create_task(model.embedder.encode(["a", "b"], FIRST_LAYER, Work()))
            wanted = asyncio.create_task(model.embedder.encode(["c d"], FIRST_LAYER, Work()))
            await asyncio.to_thread(wait_until, lambda: model.embedder.queue_depth == 3 + 3 + 4)
            unwanted.cancel()
            with pytest.raises(asyncio.CancelledError):
                await unwanted
        await wanted

    ask(give_up())
    assert model.runtime.batches == [[3], [4]]
    assert model.notes.dropped_causes == ["cancelled"] * 2


def test_what_is_given_up_while_it_is_tokenised_is_not_computed(model: Model) -> None:
    async def give_up() -> None:
        work = Work()
        async with busy(model):
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await model.embedder.encode(["a"], FIRST_LAYER, work)

    ask(give_up())
    wait_until(lambda: model.notes.dropped_causes == ["cancelled"])
    assert model.runtime.batches == [[3]]


def test_short_requests_are_answered_between_the_slices_of_a_long_document(runtime: FakeRuntime) -> None:
    """20,000 tokens are 40 slices; what is asked while one runs is answered right after it."""
    model = Model(runtime, cache_tokens=100, slice_tokens=512)
    answered: list[str] = []
    tokens = [f"t{i % 500}" for i in range(20_000)]

    async def both() -> None:
        async def encode(name: str, text: str) -> Any:
            ((_, vectors),) = await model.embedder.encode([text], FIRST_LAYER, Work())
            answered.append(name)
            return vectors

        runtime.may_run.clear()
        document = asyncio.create_task(encode("document", " ".join(tokens)))
        await asyncio.to_thread(runtime.running.wait, TIMEOUT_S)
        short = [asyncio.create_task(encode(f"short {i}", "a " * (i + 1))) for i in range(3)]
        await asyncio.to_thread(wait_until, lambda: model.embedder.queue_depth == 20_002 - 512 + 3 + 4 + 5)
        runtime.may_run.set()
        await asyncio.gather(*short)
        vectors = await document
        # Every row of one layer, by the formula.
        numbers = np.array([number(token) for token in tokens])
        positions = np.arange(20_000)
        expected = np.stack([numbers, positions, 0 * positions, 19_999 - positions], axis=1)
        np.testing.assert_array_equal(vectors, expected)

    ask(both())
    model.close()
    assert sorted(answered[:3]) == ["short 0", "short 1", "short 2"]
    assert answered[3] == "document"
    assert runtime.batches[0] == [512]
    assert runtime.batches[1] == [3, 4, 5]
    assert runtime.batches[2:] == [[512]] * 38 + [[20_002 - 39 * 512]]

"""Rows through the encoder's threads: the right vectors, in order, whatever their number and the batches."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from model.bundle import Bundle
from service.bulk import encoder as encoder_module
from service.bulk.encoder import Asked, Encoder, Window
from service.bulk.jobs import Job
from service.bulk.plan import Shard
from service.bulk.rows import Row
from service.engine.backend import Backend, RuntimeLike, open_backend
from service.mixes import Mix
from service.refusal import Refusal
from service.replies.answers import Answer
from tests.patience import PATIENCE_S
from tests.service.bulk.reference import Reference

AVERAGE = Asked(Mix((1 / 3, 1 / 3, 1 / 3)), "token", False, "float32")
SENTENCES = [
    "The bank of the river was muddy.",
    "강에서 배를 탔다",
    "a",
    "배가 아프다. " * 30,
    "the bank " * 150,
]


@pytest.fixture(scope="module")
def backend(bundle: Bundle) -> Backend:
    return open_backend(bundle.folder, 1, "float32")


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows a shard, and several batches a window, of few rows."""
    monkeypatch.setattr(encoder_module, "WINDOW_TOKENS", 300)
    monkeypatch.setattr(encoder_module, "BATCH_TOKENS", 100)


class Same:
    """A runtime, but for what a test changes."""

    def __init__(self, runtime: RuntimeLike) -> None:
        self.runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)


def job(number: int, texts: Sequence[str]) -> Job:
    rows = [Row(line, text) for line, text in enumerate(texts, start=1)]
    return Job(Shard(number, 0, 0, len(rows), sum(map(len, texts))), "in.txt", rows, None)


def embedded(windows: Sequence[Window]) -> list[tuple[int, int, Any]]:
    """Return every row's shard, number in it and vectors."""
    return [
        (window.job.shard.number, i, outcome.rows if isinstance(outcome, Answer) else outcome)
        for window in windows
        for i, outcome in enumerate(window.outcomes, window.first)
    ]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_rows_of_several_shards_keep_their_order(
    backend: Backend, reference: Reference, num_threads: int
) -> None:
    jobs = [job(0, SENTENCES * 3), job(1, SENTENCES[:1]), job(2, SENTENCES[::-1])]
    windows = list(Encoder(backend, AVERAGE, num_threads).windows(jobs))
    assert [window.job.shard.number for window in windows if window.ends_shard] == [0, 1, 2]
    assert len(windows) > len(jobs)
    found = embedded(windows)
    assert [each[:2] for each in found] == [
        (j, i) for j, each in enumerate(jobs) for i in range(len(each.rows))
    ]
    for number, i, vectors in found:
        expected = reference.average(jobs[number].rows[i].text)
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)


def test_vectors_are_the_same_to_the_last_bit_on_any_number_of_threads(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is why a run that was stopped gives the same files when it goes on."""
    rows = SENTENCES * 4 + SENTENCES[::-1]
    expected = embedded(list(Encoder(backend, AVERAGE, 1).windows([job(0, rows)])))
    monkeypatch.setattr(encoder_module, "BATCH_TOKENS", 90)  # other neighbours in every batch
    for num_threads in (1, 3):
        found = embedded(list(Encoder(backend, AVERAGE, num_threads).windows([job(0, rows)])))
        for one, other in zip(expected, found, strict=True):
            assert one[:2] == other[:2]
            np.testing.assert_array_equal(one[2], other[2])


@pytest.mark.parametrize("num_documents", [4, 5, 9])
def test_few_long_documents_are_spread_over_the_threads(backend: Backend, num_documents: int) -> None:
    """They would fit one batch. That four run at once is known when each waits for three others."""
    together = threading.Barrier(4)

    class Waiting(Same):
        def mix_slices(self, *given: Any) -> Any:
            if not self.have_met:
                together.wait(timeout=PATIENCE_S)
                self.have_met = True
            return self.runtime.mix_slices(*given)

        have_met = False

    encoder = Encoder(replace(backend, runtime=Waiting(backend.runtime)), AVERAGE, 4)
    (window,) = encoder.windows([job(0, ["the bank " * 200] * num_documents)])
    assert all(isinstance(outcome, Answer) for outcome in window.outcomes)


@pytest.mark.parametrize("num_threads", [1, 2, 7])
def test_what_the_input_raises_comes_after_the_rows_before_it(backend: Backend, num_threads: int) -> None:
    def jobs() -> Iterator[Job]:
        for number in range(5):
            yield job(number, SENTENCES[:2])
        raise Refusal("INPUT: damaged")

    windows = Encoder(backend, AVERAGE, num_threads).windows(jobs())
    seen: list[int] = []
    with pytest.raises(Refusal, match="damaged"):
        seen.extend(window.job.shard.number for window in windows)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("num_threads", [1, 4])
def test_no_more_is_begun_than_may_be_held(backend: Backend, num_threads: int) -> None:
    taken = 0

    def jobs() -> Iterator[Job]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield job(number, [SENTENCES[-1]])  # a window each, of 301 tokens where 300 or 400 may wait

    for i, _ in enumerate(Encoder(backend, AVERAGE, num_threads).windows(jobs())):
        assert taken <= i + 3


def test_a_document_that_nobody_waits_for_is_not_read_on(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, closing = threading.Event(), threading.Event()
    num_slices = 0
    close = encoder_module._Threads.close

    def announced(threads: encoder_module._Threads) -> None:
        threads.stopping.set()
        closing.set()
        close(threads)

    class Waiting(Same):
        def mix_slices(self, *given: Any) -> Any:
            nonlocal num_slices
            if given[0].shape[0] > 100:
                num_slices += 1
                reads.set()
                assert closing.wait(PATIENCE_S)
            return self.runtime.mix_slices(*given)

    monkeypatch.setattr(encoder_module._Threads, "close", announced)
    encoder = Encoder(replace(backend, runtime=Waiting(backend.runtime)), AVERAGE, 1)
    windows = encoder.windows([job(0, ["a"]), job(1, ["the bank " * 5000])])
    assert next(windows).job.shard.number == 0
    assert reads.wait(PATIENCE_S)
    windows.close()
    assert num_slices == 1


@pytest.mark.usefixtures("small_windows")
def test_what_the_model_raises_ends_the_run(backend: Backend) -> None:
    calls = []

    class Failing(Same):
        def mix_slices(self, *given: Any) -> Any:
            calls.append(given)
            if len(calls) == 3:
                raise RuntimeError("no memory")
            return self.runtime.mix_slices(*given)

    encoder = Encoder(replace(backend, runtime=Failing(backend.runtime)), AVERAGE, 2)
    with pytest.raises(RuntimeError, match="no memory"):
        list(encoder.windows([job(0, SENTENCES * 20)]))
    num_calls = len(calls)
    assert not any(thread.name.startswith("polyseme-encoder") for thread in threading.enumerate())
    # The encoder goes on.
    assert len(embedded(list(encoder.windows([job(0, SENTENCES)])))) == len(SENTENCES)
    assert len(calls) > num_calls


def test_a_token_without_usable_vectors_fails_its_rows_alone(backend: Backend, reference: Reference) -> None:
    class Broken(Same):
        def token_vectors(self, char_ids_NC: Any, word_ids_N: Any = None) -> Any:
            vectors_ND = self.runtime.token_vectors(char_ids_NC, word_ids_N)
            is_bank_N = (char_ids_NC == backend.alphabet.encode(["b"])[0, 1]).any(axis=1)
            vectors_ND[is_bank_N] = np.nan
            return vectors_ND

    texts = ["the river", "a bank", "강에서 배를 탔다"]
    (window,) = Encoder(replace(backend, runtime=Broken(backend.runtime)), AVERAGE, 2).windows(
        [job(0, texts)]
    )
    first, second, third = window.outcomes
    assert second == encoder_module.NO_VECTORS
    for outcome, text in ((first, texts[0]), (third, texts[2])):
        assert isinstance(outcome, Answer)
        np.testing.assert_allclose(outcome.rows, reference.average(text), rtol=0, atol=1e-5)

"""Shape letters: B rows, T tokens of a window.

Here a document's ids tell where they stand: document 3 with lines of two and three tokens is
[1, 300, 301, 1, 302, 303, 304], 1 being the boundary.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from training import batches
from training.batches import Direction, Epoch, TokenStream, Window
from training.corpus import PackedCorpus

VOCABULARY_SIZE, BPTT_LENGTH, SEED = 100_000, 3, 1

# The number of tokens in each line of each document.
DOCUMENTS = [[2, 3], [5], [1, 1, 4], [7, 2], [3], [6, 1]]
LINES = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=8)


def documents_of(lines: list[list[int]]) -> list[list[int]]:
    documents = []
    for number, lengths in enumerate(lines, start=1):
        ids: list[int] = []
        for length in lengths:
            first = 100 * number + sum(token != BOUNDARY_ID for token in ids)
            ids += [BOUNDARY_ID, *range(first, first + length)]
        documents.append(ids)
    return documents


def pack(folder: Path, documents: list[list[int]], vocabulary_size: int = VOCABULARY_SIZE) -> PackedCorpus:
    """Write token ids as `training.corpus.pack` does."""
    starts = np.cumsum([0, *map(len, documents[:-1])])
    np.array([i for document in documents for i in document], dtype=np.uint32).tofile(
        folder / "token_ids.bin"
    )
    np.array(starts, dtype=np.int64).tofile(folder / "document_starts.bin")
    counts = {"tokens": sum(map(len, documents)), "words": 0, "characters": 0}
    content = {"vocabulary_size": vocabulary_size, "unknown_surfaces": [], "counts": counts}
    (folder / "corpus.json").write_text(json.dumps(content), encoding="utf-8")
    return PackedCorpus(folder)


@pytest.fixture
def corpus(tmp_path: Path) -> PackedCorpus:
    return pack(tmp_path, documents_of(DOCUMENTS))


def stream(corpus: PackedCorpus, direction: Direction = "forward", **changes: Any) -> TokenStream:
    settings: dict[str, Any] = {"batch_size": 1, "bptt_length": BPTT_LENGTH, "reset_probability": 0.0}
    settings["seed"] = SEED
    return TokenStream(corpus, direction, **(settings | changes))


def windows(tokens: TokenStream, count: int, first_step: int = 0) -> list[Window]:
    return [tokens.window(step) for step in range(first_step, first_step + count)]


def row(window: Window, b: int = 0) -> tuple[list[int], list[int], bool]:
    return window.inputs_TB[:, b].tolist(), window.targets_TB[:, b].tolist(), bool(window.starts_B[b])


def assert_equal(ours: list[Window], theirs: list[Window]) -> None:
    for window, expected in zip(ours, theirs, strict=True):
        for name in ("inputs_TB", "targets_TB", "starts_B"):
            np.testing.assert_array_equal(getattr(window, name), getattr(expected, name))


def text_of(corpus: PackedCorpus, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    return Epoch(corpus, (seed, epoch)).read(0, len(corpus))


def stretch_of(corpus: PackedCorpus, direction: Direction, epoch: int, b: int, batch_size: int) -> list[int]:
    """Return what a row has to read in an epoch, in its reading order."""
    low, high = b * len(corpus) // batch_size, (b + 1) * len(corpus) // batch_size
    stretch: list[int] = text_of(corpus, SEED, epoch)[low:high].tolist()
    return stretch if direction == "forward" else stretch[::-1]


def split_documents(text: npt.NDArray[np.int64]) -> list[tuple[int, ...]]:
    """Return the tokens of each document in the order of the text, boundaries left out."""
    tokens = [token for token in text.tolist() if token != BOUNDARY_ID]
    return [tuple(group) for _, group in groupby(tokens, lambda token: token // 100)]


def test_an_epoch_has_every_document_in_an_order_of_its_own(corpus: PackedCorpus) -> None:
    epochs = [split_documents(text_of(corpus, seed=4, epoch=epoch)) for epoch in range(5)]
    for epoch in epochs:
        assert sorted(epoch) == [
            tuple(range(100 * n, 100 * n + sum(d))) for n, d in enumerate(DOCUMENTS, start=1)
        ]
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert split_documents(text_of(corpus, seed=4, epoch=1)) == epochs[1]
    assert split_documents(text_of(corpus, seed=5, epoch=1)) != epochs[1]


def test_any_part_of_an_epoch_can_be_read(corpus: PackedCorpus) -> None:
    epoch = Epoch(corpus, (1, 0))
    text = epoch.read(0, len(corpus)).tolist()
    for start in range(len(corpus)):
        for stop in range(start, len(corpus) + 1):
            assert epoch.read(start, stop).tolist() == text[start:stop]


def test_forward_windows_by_hand(tmp_path: Path) -> None:
    tokens = stream(pack(tmp_path, [[1, 11, 12, 13, 1, 21, 22, 1, 31, 32, 33]]))
    assert tokens.positions.tolist() == [[0, 0]]
    window = tokens.window(0)
    assert window.inputs_TB.shape == window.targets_TB.shape == (3, 1)
    dtypes = [part.dtype.name for part in (window.inputs_TB, window.targets_TB, window.starts_B)]
    assert dtypes == ["int64", "int64", "bool"]
    assert row(window) == ([1, 11, 12], [11, 12, 13], True)
    assert tokens.positions.tolist() == [[0, 3]]
    assert row(tokens.window(1)) == ([13, 1, 21], [1, 21, 22], False)
    assert tokens.positions.tolist() == [[0, 6]]
    assert row(tokens.window(2)) == ([22, 1, 31], [1, 31, 32], False)
    assert tokens.positions.tolist() == [[0, 9]]
    # Two tokens are left, and a window takes four: the next epoch begins.
    assert row(tokens.window(3)) == ([1, 11, 12], [11, 12, 13], True)
    assert tokens.positions.tolist() == [[1, 3]]


def test_backward_windows_by_hand(tmp_path: Path) -> None:
    tokens = stream(pack(tmp_path, [[1, 11, 12, 13, 1, 21, 22, 1, 31, 32, 33]]), "backward")
    # 33, 32 and 31 come before the first boundary in reading order: a row begins at a boundary.
    assert row(tokens.window(0)) == ([1, 22, 21], [22, 21, 1], True)
    assert tokens.positions.tolist() == [[0, 6]]
    assert row(tokens.window(1)) == ([1, 13, 12], [13, 12, 11], False)
    assert tokens.positions.tolist() == [[0, 9]]
    assert row(tokens.window(2)) == ([1, 22, 21], [22, 21, 1], True)
    assert tokens.positions.tolist() == [[1, 6]]


@given(
    lines=LINES,
    batch_size=st.integers(1, 4),
    bptt_length=st.integers(1, 6),
    direction=st.sampled_from(["forward", "backward"]),
)
def test_windows_laid_end_to_end_are_the_stretch_of_their_row(
    lines: list[list[int]], batch_size: int, bptt_length: int, direction: Direction
) -> None:
    """Two epochs: each row from the first boundary of its stretch to the last whole window, none left out."""
    documents = documents_of(lines)
    documents += documents_of([[bptt_length] * batch_size])  # so that there is always enough text
    with TemporaryDirectory() as folder:
        corpus = pack(Path(folder), documents)
    tokens = stream(corpus, direction, batch_size=batch_size, bptt_length=bptt_length)
    read: dict[tuple[int, int], list[int]] = {}
    starts: dict[tuple[int, int], list[bool]] = {}
    step = 0
    while (tokens.positions[:, 0] < 2).any():
        window = tokens.window(step)
        step += 1
        np.testing.assert_array_equal(window.targets_TB[:-1], window.inputs_TB[1:])
        for b in range(batch_size):
            key = b, int(tokens.positions[b, 0])
            read.setdefault(key, []).extend(window.inputs_TB[:, b].tolist())
            starts.setdefault(key, []).append(bool(window.starts_B[b]))
    for b in range(batch_size):
        for epoch in range(2):
            stretch = stretch_of(corpus, direction, epoch, b, batch_size)
            # A boundary too near the end for a window after it is none to begin at.
            begins = stretch[: len(stretch) - bptt_length]
            begin = begins.index(BOUNDARY_ID) if BOUNDARY_ID in begins else 0
            num_windows = (len(stretch) - begin - 1) // bptt_length
            assert read[b, epoch] == stretch[begin : begin + num_windows * bptt_length]
            assert starts[b, epoch] == [True] + [False] * (num_windows - 1)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("reset_probability", [0.0, 0.5, 1.0])
def test_a_row_that_begins_anew_begins_with_the_next_boundary(
    corpus: PackedCorpus, direction: Direction, reset_probability: float
) -> None:
    """At the beginning of its stretch, and elsewhere with the probability; if there is one before the end."""
    tokens = stream(corpus, direction, batch_size=2, reset_probability=reset_probability)
    begun = []
    for step in range(200):
        before = tokens.positions.copy()
        window = tokens.window(step)
        for b in range(2):
            inputs, _, starts = row(window, b)
            epoch, after = tokens.positions[b].tolist()
            came_from = int(before[b, 1]) if epoch == before[b, 0] else 0
            ahead = stretch_of(corpus, direction, epoch, b, batch_size=2)[came_from:-BPTT_LENGTH]
            skipped = after - BPTT_LENGTH - came_from
            if came_from == 0:
                assert starts
            elif BOUNDARY_ID in ahead:
                begun.append(starts)
            else:
                assert not starts
            assert skipped == (ahead.index(BOUNDARY_ID) if starts and BOUNDARY_ID in ahead else 0)
            assert not starts or BOUNDARY_ID not in ahead or inputs[0] == BOUNDARY_ID
    assert len(begun) > 100
    assert np.mean(begun) == pytest.approx(reset_probability, abs=0.15 if reset_probability == 0.5 else 0)


def test_a_row_that_wants_to_begin_anew_skips_to_the_next_boundary(tmp_path: Path) -> None:
    tokens = stream(
        pack(tmp_path, [[1, 11, 12, 13, 14, 15, 1, 21, 22, 23, 24, 1, 31]]), reset_probability=1.0
    )
    assert row(tokens.window(0)) == ([1, 11, 12], [11, 12, 13], True)
    assert row(tokens.window(1)) == ([1, 21, 22], [21, 22, 23], True)
    assert tokens.positions.tolist() == [[0, 9]]
    # The next boundary is too near the end for a whole window: the row goes on where it was, with its state.
    assert row(tokens.window(2)) == ([23, 24, 1], [24, 1, 31], False)
    assert row(tokens.window(3)) == ([1, 11, 12], [11, 12, 13], True)


def test_a_line_longer_than_the_skip_is_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_SKIP", 4)
    tokens = stream(pack(tmp_path, [[1, *range(11, 25), 1, 31, 32, 33]]), reset_probability=1.0)
    assert row(tokens.window(0)) == ([1, 11, 12], [11, 12, 13], True)
    for step, first in enumerate([13, 16, 19], start=1):
        assert row(tokens.window(step)) == (
            [first, first + 1, first + 2],
            [*range(first + 1, first + 4)],
            False,
        )
    assert row(tokens.window(4)) == ([1, 31, 32], [31, 32, 33], True)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("parts", [[range(6)], [range(2), range(2, 6)], [range(b, b + 1) for b in range(6)]])
def test_processes_read_the_columns_of_the_whole_batch(
    tmp_path: Path, direction: Direction, parts: list[range]
) -> None:
    corpus = pack(tmp_path, documents_of(DOCUMENTS * 2))
    whole = stream(corpus, direction, batch_size=6, reset_probability=0.5)
    shares = [stream(corpus, direction, batch_size=6, reset_probability=0.5, rows=part) for part in parts]
    for step in range(80):
        window, read = whole.window(step), [share.window(step) for share in shares]
        joined = Window(
            np.concatenate([part.inputs_TB for part in read], axis=1),
            np.concatenate([part.targets_TB for part in read], axis=1),
            np.concatenate([part.starts_B for part in read]),
        )
        assert_equal([joined], [window])
        assert np.concatenate([share.positions for share in shares]).tolist() == whole.positions.tolist()


def test_the_seed_decides_everything(corpus: PackedCorpus) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "reset_probability": 0.3}
    first = windows(stream(corpus, seed=8, **settings), 50)
    assert_equal(windows(stream(corpus, seed=8, **settings), 50), first)
    other = windows(stream(corpus, seed=9, **settings), 50)
    assert sum((a.inputs_TB == b.inputs_TB).all() for a, b in zip(first, other, strict=True)) < 25


def test_weights_that_have_read_the_text_read_it_in_another_order(corpus: PackedCorpus) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "reset_probability": 0.3, "seed": 8}
    first = windows(stream(corpus, **settings), 50)
    assert_equal(windows(stream(corpus, **settings, tokens_before=0), 50), first)
    other = windows(stream(corpus, **settings, tokens_before=4096), 50)
    assert sum((a.inputs_TB == b.inputs_TB).all() for a, b in zip(first, other, strict=True)) < 25
    longer = windows(stream(corpus, **settings, tokens_before=8192), 50)
    assert sum((a.inputs_TB == b.inputs_TB).all() for a, b in zip(other, longer, strict=True)) < 25


def test_the_directions_begin_anew_at_times_of_their_own(tmp_path: Path) -> None:
    corpus = pack(tmp_path, [[BOUNDARY_ID] * 2000])
    starts = {
        direction: [
            bool(window.starts_B[0])
            for window in windows(stream(corpus, direction, reset_probability=0.5), 200)
        ]
        for direction in ("forward", "backward")
    }
    assert 70 < sum(starts["forward"]) < 130
    assert 60 < sum(a == b for a, b in zip(starts["forward"], starts["backward"], strict=True)) < 140


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_positions_are_all_that_a_stream_needs_to_go_on(corpus: PackedCorpus, direction: Direction) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "reset_probability": 0.4}
    tokens = stream(corpus, direction, **settings)
    windows(tokens, 33)
    resumed = stream(corpus, direction, **settings)
    resumed.positions[:] = tokens.positions
    assert_equal(windows(resumed, 40, first_step=33), windows(tokens, 40, first_step=33))
    assert resumed.positions.tolist() == tokens.positions.tolist()


def test_unknown_surfaces_are_read_and_predicted_as_unknown(tmp_path: Path) -> None:
    tokens = stream(pack(tmp_path, [[1, 19, 20, 25, 7, 1]], vocabulary_size=20), bptt_length=4)
    assert row(tokens.window(0)) == ([1, 19, 20, 25], [19, UNKNOWN_ID, UNKNOWN_ID, 7], True)


def test_a_corpus_shorter_than_one_batch_is_refused(tmp_path: Path) -> None:
    corpus = pack(tmp_path, [[1, *range(11, 22)]])
    assert len(corpus) == 12
    stream(corpus, batch_size=3, bptt_length=3).window(0)
    message = r"^the corpus has 12 tokens, fewer than one batch: batch_size x \(bptt_length \+ 1\) = 15$"
    with pytest.raises(ValueError, match=message):
        stream(corpus, batch_size=3, bptt_length=4)

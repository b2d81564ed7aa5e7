from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from numpy.typing import NDArray

from model.characters import BOUNDARY, Alphabet
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer
from training.probes import encoded
from training.probes.encoded import EncodedScorer, EncodedSource, length_sorted_batches
from training.probes.source import FloatArray

CORPUS = Path(__file__).resolve().parent.parent / "data"
SENTENCES = [
    "배가 고프다.",
    "",
    "The bank of the  river",
    "a",
    "배",
    "한국어 bank 문장은 조금 더 길다 😀👩‍👩‍👧",
    "   ",
]


class Sums:
    """A token's vector is (sum of its character ids, 1); layer 1 adds what stands before and after it."""

    def __init__(self) -> None:
        self.num_tokens_encoded = 0
        self.batch_shapes: list[tuple[int, int]] = []

    def token_vectors(
        self, char_ids_NC: NDArray[np.int32], piece_ids_N: NDArray[np.int32] | None, /
    ) -> FloatArray:
        self.num_tokens_encoded += len(char_ids_NC)
        sums_N = char_ids_NC.sum(axis=1)
        return np.stack([sums_N, np.ones_like(sums_N)], axis=1).astype(np.float32)

    def layers(self, x_TBD: FloatArray, lengths_B: NDArray[np.int32], /) -> FloatArray:
        self.batch_shapes.append(x_TBD.shape[:2])
        for b, length in enumerate(lengths_B):
            assert (x_TBD[:length, b, 1] == 1).all()
            assert (x_TBD[length:, b] == 0).all()
        beside = np.zeros_like(x_TBD)
        beside[1:] += x_TBD[:-1]
        beside[:-1] += x_TBD[1:]
        return np.stack([np.concatenate([x, x], axis=2) for x in (x_TBD, beside)])


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    prefix = tmp_path_factory.mktemp("pieces") / "tokenizer"
    sentencepiece.SentencePieceTrainer.train(
        input=f"{CORPUS / 'corpus.en.txt'},{CORPUS / 'corpus.ko.txt'}",
        model_prefix=str(prefix),
        vocab_size=800,
        hard_vocab_limit=False,
        unk_id=UNKNOWN_ID,
        bos_id=BOUNDARY_ID,
        eos_id=-1,
        minloglevel=2,
    )
    return SentencePieceTokenizer(prefix.with_suffix(".model"))


def check(tokenizer: SentencePieceTokenizer, source: EncodedSource, sentences: list[str]) -> None:
    alphabet = Alphabet("bytes")
    boundary = alphabet.boundary_row().sum()
    assert boundary == 1 + BOUNDARY + 2
    for sentence, layers in zip(sentences, source.sentence_layers(sentences), strict=True):
        tokenized = tokenizer.tokenize(sentence)
        fed = [boundary, *(alphabet.encode([s]).sum() for s in tokenized.surfaces), boundary]
        visible = [i for i, seen in enumerate(tokenized.visible) if seen]
        assert layers.starts.tolist() == [tokenized.starts[i] for i in visible]
        assert layers.ends.tolist() == [tokenized.ends[i] for i in visible]
        assert layers.layers_LTD.shape == (2, len(visible), 4)
        assert layers.layers_LTD.dtype == np.float32
        assert layers.layers_LTD[0, :, 0].tolist() == [fed[i + 1] for i in visible]
        assert layers.layers_LTD[1, :, 2].tolist() == [fed[i] + fed[i + 2] for i in visible]


def test_each_sentence_gets_its_own_layers_in_input_order(tokenizer: SentencePieceTokenizer) -> None:
    source = EncodedSource(tokenizer, Alphabet("bytes"), Sums(), 2)
    assert source.num_vector_layers == 2
    check(tokenizer, source, SENTENCES)
    assert list(source.sentence_layers([])) == []


@pytest.mark.parametrize("num_workers", [1, 3])
def test_nothing_depends_on_budgets_workers_or_table_growth(
    tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(encoded, "TOKEN_BUDGET", 16)
    monkeypatch.setattr(encoded, "ENCODE_CHUNK", 2)
    network = Sums()
    source = EncodedSource(tokenizer, Alphabet("bytes"), network, 2, num_workers)
    check(tokenizer, source, SENTENCES * 3)
    assert all(length * count <= 16 or count == 1 for length, count in network.batch_shapes)


def test_each_distinct_token_is_encoded_once(tokenizer: SentencePieceTokenizer) -> None:
    network = Sums()
    source = EncodedSource(tokenizer, Alphabet("bytes"), network, 2)
    for _ in range(2):
        list(source.sentence_layers(SENTENCES))
    distinct = {surface for sentence in SENTENCES for surface in tokenizer.tokenize(sentence).surfaces}
    assert network.num_tokens_encoded == len(distinct) + 2  # and the boundaries


def test_batches_are_sorted_and_keep_to_the_budget() -> None:
    lengths = [5, 2, 9, 2, 40, 3]
    assert list(length_sorted_batches(lengths, 12)) == [[1, 3, 5], [0], [2], [4]]
    assert list(length_sorted_batches([], 12)) == []


class Predictor(Sums):
    """Token v has the log-probability -(v + what the place before or after it was fed) / 1000."""

    def log_probabilities(self, hidden_NH: FloatArray, /) -> FloatArray:
        scores_NV = -(hidden_NH[:, :1] + np.arange(2000)) / 1000
        return scores_NV.astype(np.float32)


@pytest.mark.parametrize("chunk", [3, 256])
def test_a_score_sums_both_directions_boundaries_included(
    tokenizer: SentencePieceTokenizer, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(encoded, "PREDICTION_CHUNK", chunk)
    alphabet = Alphabet("bytes")
    scorer = EncodedScorer(tokenizer, alphabet, Predictor(), 2, num_workers=2)
    scores_N = scorer.sentence_scores(SENTENCES)
    boundary = alphabet.boundary_row().sum()
    for sentence, score in zip(SENTENCES, scores_N, strict=True):
        tokenized = tokenizer.tokenize(sentence)
        fed = [0, boundary, *(alphabet.encode([s]).sum() for s in tokenized.surfaces), boundary, 0]
        ids = [BOUNDARY_ID, *tokenized.ids, BOUNDARY_ID]
        # The top layer at a place is what was fed on both sides of it.
        top = [fed[i] + fed[i + 2] for i in range(len(ids))]
        expected = sum(top[i] + ids[i + 1] for i in range(len(ids) - 1))
        expected += sum(top[i + 1] + ids[i] for i in range(len(ids) - 1))
        assert score == pytest.approx(-expected / 1000, rel=1e-5)

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.architecture import Architecture
from model.bilm import BiLM
from training import evaluate
from training.corpus import CharacterTable, PackedCorpus, TextCounts
from training.evaluate import HeldoutLoss, heldout_loss
from training.workspace import Workspace

UNKNOWN = ["𓀀", "▁unknown-one", "▁unknown-two"]
Lines = list[npt.NDArray[np.uint32]]


@pytest.fixture(scope="module")
def characters(prepared: Workspace) -> CharacterTable:
    return CharacterTable(prepared.alphabet, prepared.tokenizer, UNKNOWN)


@pytest.fixture(scope="module")
def lines() -> Lines:
    """Lines of 0 to 30 tokens, among them unknown ones (1200 and up)."""
    rng = np.random.default_rng(1)
    lengths = [7, 1, 30, 0, 12, 12, 3, 25, 0, 1, 18]
    return [rng.integers(2, 1203, length).astype(np.uint32) for length in lengths]


def build(workspace: Workspace, cell: str = "lstm", cutoffs: tuple[int, ...] = (200, 600)) -> BiLM:
    torch.manual_seed(1)
    model = BiLM(
        Architecture(
            cell=cell,  # type: ignore[arg-type]
            num_layers=2,
            hidden_dim=12,
            character_dim=6,
            num_characters=workspace.alphabet.num_characters,
            filters=((1, 5), (3, 7)),
            num_highways=1,
            vocabulary_size=1200,
            adaptive_cutoffs=cutoffs,
            adaptive_div_value=2.0,
        )
    )
    # Weights large enough for losses far from those of a uniform distribution.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


def plain_loss(model: BiLM, characters: CharacterTable, lines: Lines) -> tuple[float, float]:
    """One line at a time, one direction after the other, every probability of the vocabulary written out."""
    forward = backward = 0.0
    hidden_dim = model.architecture.hidden_dim
    with torch.no_grad():
        for line in lines:
            ids = [1, *line.tolist(), 1]
            vectors_TD = torch.cat(
                [model.char_cnn(torch.from_numpy(characters.rows(np.array([i])))) for i in ids]
            )
            top_T2H = model(vectors_TD.unsqueeze(1), torch.tensor([len(ids)]))[-1][:, 0]
            forward_TV = model.softmax.log_probabilities(top_T2H[:, :hidden_dim])
            backward_TV = model.softmax.log_probabilities(top_T2H[:, hidden_dim:])
            targets = [i if i < 1200 else 0 for i in ids]
            for t in range(len(ids) - 1):
                forward -= forward_TV[t, targets[t + 1]].item()
                backward -= backward_TV[t + 1, targets[t]].item()
    return forward, backward


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("cutoffs", [(), (200, 600)])
def test_the_loss_is_that_of_a_plain_loop(
    cell: str, cutoffs: tuple[int, ...], prepared: Workspace, characters: CharacterTable, lines: Lines
) -> None:
    model = build(prepared, cell, cutoffs)
    loss = heldout_loss(model, characters, lines)
    forward, backward = plain_loss(model, characters, lines)
    assert loss.num_predictions == sum(len(line) + 1 for line in lines) == 120
    assert loss.forward == pytest.approx(forward, rel=1e-6)
    assert loss.backward == pytest.approx(backward, rel=1e-6)
    assert abs(forward - backward) > 1
    assert loss.mean == pytest.approx((forward + backward) / 240, rel=1e-6)


@pytest.mark.parametrize("max_batch_tokens", [1, 40, 97, 10**6])
def test_the_loss_does_not_depend_on_the_batches(
    max_batch_tokens: int,
    prepared: Workspace,
    characters: CharacterTable,
    lines: Lines,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = build(prepared)
    expected = heldout_loss(model, characters, lines)
    alone = [heldout_loss(model, characters, [line]) for line in lines]
    monkeypatch.setattr(evaluate, "MAX_BATCH_TOKENS", max_batch_tokens)
    loss = heldout_loss(model, characters, lines[::-1])
    assert loss.num_predictions == expected.num_predictions
    assert loss.forward == pytest.approx(expected.forward, rel=1e-6)
    assert loss.backward == pytest.approx(expected.backward, rel=1e-6)
    assert sum(part.forward for part in alone) == pytest.approx(expected.forward, rel=1e-6)
    assert sum(part.backward for part in alone) == pytest.approx(expected.backward, rel=1e-6)


@pytest.mark.parametrize("max_batch_tokens", [1, 40, 97])
def test_batches_hold_every_line_once_and_no_more_than_they_may(
    max_batch_tokens: int, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "MAX_BATCH_TOKENS", max_batch_tokens)
    batches = list(evaluate._batches(lines))
    sizes = [len(batch) * max(len(line) + 2 for line in batch) for batch in batches]
    assert all(
        size <= max_batch_tokens or len(batch) == 1 for size, batch in zip(sizes, batches, strict=True)
    )
    assert sorted(line.tobytes() for batch in batches for line in batch) == sorted(
        line.tobytes() for line in lines
    )


def test_bfloat16_is_close_and_leaves_the_weights_alone(
    prepared: Workspace, characters: CharacterTable, lines: Lines
) -> None:
    model = build(prepared)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact = heldout_loss(model, characters, lines)
    rounded = heldout_loss(model, characters, lines, torch.bfloat16)
    assert rounded.mean == pytest.approx(exact.mean, rel=0.01)
    assert rounded != exact
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_can_learn_after_it_was_evaluated(
    prepared: Workspace, characters: CharacterTable, lines: Lines
) -> None:
    model = build(prepared)
    heldout_loss(model, characters, lines, torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.char_cnn(torch.from_numpy(characters.rows(np.array([5])))).sum().backward()
    assert model.char_cnn.projection.weight.grad is not None


def test_perplexity_is_the_exponential_of_the_loss_per_unit() -> None:
    loss = HeldoutLoss(forward=60.0, backward=90.0, num_predictions=15)
    assert loss.mean == 5.0
    assert loss.perplexities(TextCounts(tokens=15, words=10, characters=30)) == {
        "forward": {"token": math.exp(4), "word": math.exp(6), "character": math.exp(2)},
        "backward": {"token": math.exp(6), "word": math.exp(9), "character": math.exp(3)},
    }


def test_the_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary(
    prepared: Workspace,
) -> None:
    model = build(prepared, cutoffs=())
    with torch.no_grad():
        for parameter in model.softmax.parameters():
            parameter.zero_()
    corpus = PackedCorpus(prepared.heldout_path("en"))
    characters = CharacterTable(prepared.alphabet, prepared.tokenizer, corpus.unknown_surfaces)
    loss = heldout_loss(model, characters, corpus.lines())
    perplexities = loss.perplexities(corpus.counts)
    assert loss.num_predictions == corpus.counts.tokens
    for direction in ("forward", "backward"):
        assert perplexities[direction]["token"] == pytest.approx(1200, rel=1e-4)
        by_word = 1200 ** (corpus.counts.tokens / corpus.counts.words)
        assert perplexities[direction]["word"] == pytest.approx(by_word, rel=1e-4)

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tqdm import tqdm

from model.bilm import BiLM
from model.bundle import Bundle
from model.characters import Alphabet
from model.tokenizer import SentencePieceTokenizer
from tests.training.conftest import copy_workspace
from training.checkpoint import Progress, save_checkpoint
from training.config import Config
from training.export import export, load_model
from training.perplexity import score
from training.perplexity.score import Counts, Scorer
from training.perplexity.texts import Line
from training.workspace import Workspace

LINES = [
    Line("The bank of the river was muddy.", 8),
    Line("강에서 배를 탔다", 4),
    Line("배", 2),
    Line("The bank <unk> the <unk>.", 6, ((9, 14), (19, 24))),
    Line("𓀀 is not known", 5),
]


@pytest.fixture(scope="module")
def uniform(tiny: Config, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose softmax gives every entry of a cluster the same probability."""
    workspace = copy_workspace(prepared, tmp_path_factory.mktemp("uniform") / "work")
    torch.manual_seed(0)
    model = BiLM(workspace.architecture(tiny))
    with torch.no_grad():
        for parameter in model.softmax.parameters():
            parameter.zero_()
    save_checkpoint(workspace.best_path, model.state_dict(), Progress())
    export(tiny, workspace, workspace.folder / "bundle")
    return workspace.folder / "bundle"


def scored(folder: Path, lines: list[Line]) -> tuple[list[Counts], list[Counts]]:
    with tqdm(disable=True) as bar:
        return Scorer(folder, num_threads=1).score(lines, bar)


def nats_by_hand(token_id: int) -> float:
    """tiny.toml: a head of 200 pieces and 2 tails, which have 400 and 600 pieces."""
    return math.log(202) + (0 if token_id < 200 else math.log(400) if token_id < 600 else math.log(600))


def test_a_uniform_softmax_costs_what_a_pencil_says(uniform: Path) -> None:
    whole, _ = scored(uniform, LINES)
    tokenizer = SentencePieceTokenizer(uniform / "tokenizer.model")
    for line, counts in zip(LINES, whole, strict=True):
        ids = tokenizer.tokenize(line.text).ids
        expected = sum(map(nats_by_hand, ids)) + math.log(202)  # the boundary is piece 1
        assert counts.forward == pytest.approx(expected, rel=1e-5)
        assert counts.backward == pytest.approx(expected, rel=1e-5)
        assert counts.num_tokens == len(ids) + 1
        assert (counts.num_words, counts.num_characters) == (line.num_words, len(line.text) + 1)
        assert counts.num_unknown == ids.count(0)
    assert whole[4].num_unknown == 1


def test_every_token_is_predicted_by_torch_as_by_the_served_files(untrained: Bundle) -> None:
    """One line at a time, one token after the other, all written out."""
    model = load_model(untrained)
    tokenizer = SentencePieceTokenizer(untrained.folder / "tokenizer.model")
    whole, _ = scored(untrained.folder, LINES[:3])
    for line, counts in zip(LINES[:3], whole, strict=True):
        forward, backward = torch_nats(model, tokenizer, untrained, line.text)
        assert counts.forward == pytest.approx(forward, rel=1e-5)
        assert counts.backward == pytest.approx(backward, rel=1e-5)
        assert counts.forward != pytest.approx(counts.backward, rel=1e-4)


def torch_nats(
    model: BiLM, tokenizer: SentencePieceTokenizer, bundle: Bundle, text: str
) -> tuple[float, float]:
    alphabet = Alphabet.load(bundle.folder / "characters.json")
    tokenized = tokenizer.tokenize(text)
    ids = [1, *tokenized.ids, 1]
    boundary = alphabet.boundary_row()[None]
    rows = [boundary, *(alphabet.encode([surface]) for surface in tokenized.surfaces), boundary]
    forward = backward = 0.0
    with torch.inference_mode():
        vectors_TD = torch.cat([model.char_cnn(torch.from_numpy(row_1C)) for row_1C in rows])
        top_T2H = model(vectors_TD.unsqueeze(1), torch.tensor([len(ids)]))[-1][:, 0]
        forward_TV, backward_TV = (
            model.softmax.log_probabilities(half.contiguous()) for half in top_T2H.chunk(2, dim=1)
        )
        for t in range(len(ids) - 1):
            forward -= float(forward_TV[t, ids[t + 1]])
            backward -= float(backward_TV[t + 1, ids[t]])
    return forward, backward


def test_masked_words_are_read_but_not_counted(uniform: Path) -> None:
    whole, known = scored(uniform, LINES)
    tokenized = SentencePieceTokenizer(uniform / "tokenizer.model").tokenize(LINES[3].text)
    masked = [
        token_id
        for token_id, start, end in zip(tokenized.ids, tokenized.starts, tokenized.ends, strict=True)
        if any(start < high and end > low for low, high in LINES[3].unknown)
    ]
    assert len(masked) >= 2
    cost = sum(map(nats_by_hand, masked))
    assert whole[3].forward - known[3].forward == pytest.approx(cost, rel=1e-5)
    assert whole[3].backward - known[3].backward == pytest.approx(cost, rel=1e-5)
    assert whole[3].num_tokens - known[3].num_tokens == len(masked)
    assert whole[3].num_words - known[3].num_words == 2
    assert whole[3].num_characters - known[3].num_characters == 10
    assert [whole[i] for i in (0, 1, 2, 4)] == [known[i] for i in (0, 1, 2, 4)]


def test_batches_change_nothing(untrained: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = scored(untrained.folder, LINES)
    monkeypatch.setattr(score, "TOKEN_BUDGET", 8)
    monkeypatch.setattr(score, "PREDICTIONS_PER_RUN", 3)
    monkeypatch.setattr(score, "ENCODE_CHUNK", 2)
    alone, _ = scored(untrained.folder, LINES[::-1])
    for one, other in zip(together, alone[::-1], strict=True):
        assert one.forward == pytest.approx(other.forward, rel=1e-6)
        assert one.backward == pytest.approx(other.backward, rel=1e-6)


def test_counts_add_up() -> None:
    total = sum([Counts(1.5, 2.5, 3, 4, 5, 1), Counts(1.0, 1.0, 1, 1, 1, 0)], Counts())
    assert total == Counts(2.5, 3.5, 4, 5, 6, 1)

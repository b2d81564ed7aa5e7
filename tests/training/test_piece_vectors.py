"""Pieces with vectors of their own: how they start, and the way of such a network to a reply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.bilm import BiLM
from model.bundle import Bundle
from model.files import WORDS_FILE
from model.piece_ids import PieceIds
from model.reader import open_reader
from model.runtime import Runtime
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID
from service.app import create_app
from service.engine.backend import open_backend
from tests.service.conftest import fake_settings, serving
from tests.training.conftest import copy_workspace
from tests.training.runs import TOKENS_PER_STEP, resumed
from training import pipeline
from training.config import Config
from training.corpus import CharacterTable, PackedCorpus
from training.export import export, load_model, load_weights
from training.piece_vectors import FEATURE_SIZE, SHARE, start_pieces, with_room_for_pieces
from training.static_vectors import static_vectors
from training.workspace import Workspace

WORD_DIM = 12


def with_pieces(tiny: Config, steps: int = 5) -> Config:
    training = replace(tiny.training, total_tokens=steps * TOKENS_PER_STEP, evaluate_every_steps=1)
    return replace(tiny, model=replace(tiny.model, word_dim=WORD_DIM), training=training)


@pytest.fixture(scope="module")
def trained(tiny: Config, prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """To be read only: a few steps of training, and the bundle of them in `bundle`."""
    workspace = copy_workspace(prepared, tmp_path_factory.mktemp("pieces") / "work")
    assert pipeline.train(with_pieces(tiny), workspace, resume=False, init_from=None)
    export(with_pieces(tiny), workspace, workspace.folder / "bundle")
    return workspace


@pytest.fixture(scope="module")
def bundle(trained: Workspace) -> Bundle:
    return Bundle.open(trained.folder / "bundle")


def test_the_bundle_has_them_and_needs_no_list_of_words(bundle: Bundle, trained: Workspace) -> None:
    architecture = bundle.manifest.architecture
    assert (architecture.word_dim, architecture.word_vocabulary_size) == (
        WORD_DIM,
        architecture.vocabulary_size,
    )
    assert WORDS_FILE not in bundle.manifest.files
    words = open_reader(bundle).words
    assert isinstance(words, PieceIds)
    the = trained.tokenizer.pieces().index("▁the")
    assert words.encode(["▁the", "▁thé"]).tolist() == [the, UNKNOWN_ID]


def test_served_vectors_are_those_of_torch(bundle: Bundle, trained: Workspace) -> None:
    """Also of surfaces that are no pieces, and of the boundary."""
    tokenizer, alphabet = trained.tokenizer, trained.alphabet
    surfaces = tokenizer.tokenize("The bank of the river 龘! 배를 탔다.").surfaces
    piece_ids_N = PieceIds(tokenizer.pieces()).encode(surfaces)
    assert UNKNOWN_ID in piece_ids_N
    model, runtime = load_model(bundle), Runtime(bundle, 1)
    vectors_ND = runtime.token_vectors(alphabet.encode(surfaces), piece_ids_N)
    with torch.inference_mode():
        expected_ND = model.token_vectors(
            torch.from_numpy(alphabet.encode(surfaces)), torch.from_numpy(piece_ids_N)
        )
        boundary_1D = model.token_vectors(
            torch.from_numpy(alphabet.boundary_row()[None]), torch.tensor([BOUNDARY_ID])
        )
    np.testing.assert_allclose(vectors_ND, expected_ND.numpy(), atol=1e-5)
    ids_2 = np.full(2, BOUNDARY_ID, dtype=np.int32)
    boundaries_2D = runtime.token_vectors(alphabet.boundary_rows(), ids_2)
    np.testing.assert_allclose(boundaries_2D, boundary_1D.numpy().repeat(2, axis=0), atol=1e-5)
    other = runtime.token_vectors(alphabet.encode(surfaces), np.roll(piece_ids_N, 1))
    assert np.abs(other - vectors_ND).max() > 1e-3


def test_training_changes_them(trained: Workspace, bundle: Bundle, tiny: Config) -> None:
    started = np.load(trained.static_vectors_path) * FEATURE_SIZE * WORD_DIM**0.5
    learned = load_weights(bundle)["word_embedding.weight"].numpy()
    the = trained.tokenizer.pieces().index("▁the")
    assert 1e-3 < np.abs(learned[the] - started[the]).max() < 0.2
    # Of a piece that stands nowhere nothing was learned.
    corpus = PackedCorpus(trained.train_path)
    unseen = np.setdiff1d(np.arange(2, corpus.vocabulary_size), corpus.token_ids)[0]
    assert (learned[unseen] == 0).all()


def test_a_run_goes_on_with_what_it_has_learned(trained: Workspace, tiny: Config, tmp_path: Path) -> None:
    copy = copy_workspace(trained, tmp_path / "work")
    copy.static_vectors_path.unlink()
    assert pipeline.train(with_pieces(tiny, 7), copy, resume=True, init_from=None)
    assert resumed(with_pieces(tiny, 7), copy).progress.step == 7


def test_room_changes_nothing(tiny: Config, untrained: Bundle, trained: Workspace) -> None:
    """Zeros for the pieces: the network is the one that was trained without them."""
    weights = load_weights(untrained)
    architecture = trained.architecture(with_pieces(tiny))
    wider = BiLM(architecture).eval()
    wider.load_state_dict(with_room_for_pieces(weights, architecture))
    table = CharacterTable(trained.alphabet, trained.tokenizer, [])
    ids_N = np.arange(300)
    rows, piece_ids = torch.from_numpy(table.rows(ids_N)), torch.from_numpy(table.piece_ids[ids_N])
    with torch.inference_mode():
        expected = load_model(untrained).token_vectors(rows, None)
        torch.testing.assert_close(wider.token_vectors(rows, piece_ids), expected, rtol=0, atol=1e-6)
    assert with_room_for_pieces(weights, untrained.manifest.architecture) is weights
    own = with_room_for_pieces(weights, architecture)
    assert with_room_for_pieces(own, architecture) is own


def test_what_a_piece_adds_is_half_as_long_as_what_its_characters_give(
    tiny: Config, trained: Workspace
) -> None:
    torch.manual_seed(0)
    model = BiLM(trained.architecture(with_pieces(tiny))).eval()
    table = CharacterTable(trained.alphabet, trained.tokenizer, [])
    vectors_VW = static_vectors(PackedCorpus(trained.train_path), WORD_DIM, 1)
    start_pieces(model, vectors_VW, table)
    ids_N = np.arange(2, table.piece_ids.size)
    rows, piece_ids = torch.from_numpy(table.rows(ids_N)), torch.from_numpy(table.piece_ids[ids_N])
    assert model.word_embedding is not None
    with torch.inference_mode():
        whole = model.token_vectors(rows, piece_ids)
        model.word_embedding.weight.zero_()
        spelled = model.token_vectors(rows, piece_ids)
    added = (whole - spelled).numpy()
    is_seen = vectors_VW[2:].any(axis=1)
    lengths = np.linalg.norm(added[is_seen], axis=1)
    assert lengths == pytest.approx(np.full(is_seen.sum(), lengths[0]), rel=1e-3)
    assert lengths[0] == pytest.approx(SHARE * float(spelled.norm(dim=1).mean()), rel=0.01)
    cosines = added[is_seen] @ added[is_seen].T / lengths[0] ** 2
    expected = vectors_VW[2:][is_seen] @ vectors_VW[2:][is_seen].T
    np.testing.assert_allclose(cosines, expected, atol=1e-3)


def test_a_bundle_without_them_can_be_gone_on_from(
    tiny: Config, untrained: Bundle, trained: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "work")
    config = with_pieces(tiny, 1)
    assert pipeline.train(config, workspace, resume=False, init_from=untrained.folder)
    assert workspace.static_vectors_path.exists()
    export(config, workspace, tmp_path / "bundle")
    weights = load_weights(Bundle.open(tmp_path / "bundle"))
    before = load_weights(untrained)["char_cnn.projection.weight"]
    changed = weights["char_cnn.projection.weight"][:, WORD_DIM:] - before
    assert changed.abs().max() < 0.02  # one step on
    with pytest.raises(ValueError, match=r"was trained with another \[model\]: word_dim = 12, expected 0$"):
        pipeline.train(
            replace(config, model=tiny.model),
            Workspace(tmp_path / "other"),
            resume=False,
            init_from=tmp_path / "bundle",
        )


def test_one_that_has_them_keeps_its_own(tiny: Config, bundle: Bundle, tmp_path: Path) -> None:
    config, workspace = with_pieces(tiny, 1), Workspace(tmp_path / "work")
    config = replace(config, training=replace(config.training, learning_rate=1e-9))
    assert pipeline.train(config, workspace, resume=False, init_from=bundle.folder)
    assert not workspace.static_vectors_path.exists()
    export(config, workspace, tmp_path / "bundle")
    weights, before = load_weights(Bundle.open(tmp_path / "bundle")), load_weights(bundle)
    torch.testing.assert_close(
        weights["word_embedding.weight"], before["word_embedding.weight"], rtol=0, atol=1e-6
    )


def test_such_a_bundle_is_served(bundle: Bundle, trained: Workspace) -> None:
    text = "The bank of the river 龘! 배를 탔다."
    with serving(create_app(fake_settings(bundle=(bundle.folder,)), open_backend)) as client:
        reply = client.post("/v1/embed", json={"inputs": [text], "layer": "all"})
        (embedding,) = reply.json()["embeddings"]
    tokenized = trained.tokenizer.tokenize(text)
    surfaces = tokenized.surfaces
    piece_ids = torch.from_numpy(PieceIds(trained.tokenizer.pieces()).encode(["", *surfaces, ""]))
    piece_ids[[0, -1]] = BOUNDARY_ID
    boundary = trained.alphabet.boundary_row()
    rows = [boundary, *trained.alphabet.encode(surfaces), boundary]
    char_ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
    model = load_model(bundle)
    with torch.inference_mode():
        x_TBD = model.token_vectors(char_ids, piece_ids)[:, None]
        expected = model(x_TBD, torch.tensor([len(rows)]))[:, 1:-1, 0].numpy()[:, tokenized.visible]
    np.testing.assert_allclose(np.array(embedding["vectors"]), expected, atol=2e-5)

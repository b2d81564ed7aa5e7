"""What /v1/score and /v1/cloze say of a real, tiny bundle, against the same network in torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.bilm import BiLM
from model.bundle import Bundle
from model.characters import Alphabet
from model.files import CHARACTERS_FILE, TOKENIZER_FILE
from model.tokenizer import BOUNDARY_ID, UNKNOWN_ID, SentencePieceTokenizer, Tokenized
from service.app import create_app
from tests.service.conftest import fake_settings, serving
from tests.service.routes.asking import ask
from tests.service.tiny_bundle import DATA, write_tiny_bundle
from training.corpus import CharacterTable
from training.evaluate import heldout_loss
from training.export import load_model

SENTENCES: list[str | list[str]] = [
    "She sat on the bank of the river.",
    "강에서 배를 탔다.",
    "a",
    "  two  spaces\tand 뷁꿻 a tab ",
    "ｆｕｌｌ ㈜회사 👍🏽 \u1112\u1161\u11ab\u1100\u1173\u11af",
    ["나는", "밥을", " ", "먹었다"],
]


class Reference:
    """The bundle's network in torch."""

    def __init__(self, bundle: Bundle) -> None:
        self.model: BiLM = load_model(bundle).eval()
        self.tokenizer = SentencePieceTokenizer(bundle.folder / TOKENIZER_FILE)
        self.alphabet = Alphabet.load(bundle.folder / CHARACTERS_FILE)

    def tokenized(self, text: str | list[str]) -> Tokenized:
        if isinstance(text, str):
            return self.tokenizer.tokenize(text)
        return self.tokenizer.tokenize_words(text)

    @torch.inference_mode()
    def log_probabilities(self, tokens: Tokenized) -> tuple[list[float], list[float]]:
        """Return those of a sentence: forward (T + 1) as it is read, backward (T + 1) as it is written."""
        rows_NC = torch.from_numpy(self.alphabet.encode(tokens.surfaces))
        boundary_1D = self.model.char_cnn(torch.from_numpy(self.alphabet.boundary_row())[None])
        x_TD = torch.cat([boundary_1D, self.model.char_cnn(rows_NC), boundary_1D])
        top_T2H = self.model(x_TD[:, None], torch.tensor([len(x_TD)]))[-1, :, 0]
        forward_TH, backward_TH = top_T2H.chunk(2, dim=1)
        ids = torch.tensor([BOUNDARY_ID, *tokens.ids, BOUNDARY_ID])
        following = self.model.softmax.log_probabilities(forward_TH[:-1]).gather(1, ids[1:, None])
        preceding = self.model.softmax.log_probabilities(backward_TH[1:]).gather(1, ids[:-1, None])
        return following[:, 0].tolist(), preceding[:, 0].tolist()

    def total(self, text: str) -> float:
        forward, backward = self.log_probabilities(self.tokenized(text))
        return (sum(forward) + sum(backward)) / 2


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def reference(bundle: Bundle) -> Iterator[Reference]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # many small products: more threads only wait for each other
    yield Reference(bundle)
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def client(bundle: Bundle) -> Iterator[httpx.Client]:
    with serving(create_app(fake_settings(bundle=(bundle.folder,)))) as client:
        yield client


def folded(tokens: Tokenized, values: list[float]) -> list[float]:
    """Return one number for each visible token, each with the white space before it."""
    numbers, waiting = [], 0.0
    for value, visible in zip(values, tokens.visible, strict=True):
        waiting += value
        if visible:
            numbers.append(waiting)
            waiting = 0.0
    assert waiting == 0, "no sentence here ends with white space"
    return numbers


def test_scores_are_those_of_the_network_in_torch(client: httpx.Client, reference: Reference) -> None:
    scores = ask(client, "/v1/score", inputs=SENTENCES)["scores"]
    assert any(not all(reference.tokenized(text).visible) for text in SENTENCES)
    for text, score in zip(SENTENCES, scores, strict=True):
        tokens = reference.tokenized(text)
        forward, backward = reference.log_probabilities(tokens)
        assert score["num_predictions"] == len(tokens) + 1 == len(forward)
        for name, values, boundary in (
            ("forward", forward[:-1], forward[-1]),
            ("backward", backward[1:], backward[0]),
        ):
            expected = folded(tokens, values)
            np.testing.assert_allclose(score[name]["log_probabilities"], expected, rtol=0, atol=1e-4)
            assert len(expected) == len(score["tokens"])
            assert score[name]["boundary"] == pytest.approx(boundary, abs=1e-4)
            assert score[name]["total"] == pytest.approx(sum(values) + boundary, abs=1e-3)
            perplexity = math.exp(-(sum(values) + boundary) / len(forward))
            assert score[name]["perplexity"] == pytest.approx(perplexity, rel=1e-4)


def test_perplexity_is_that_of_the_evaluation(client: httpx.Client, reference: Reference) -> None:
    """`polyseme-train evaluate` and the service count the same predictions."""
    lines = (DATA / "heldout.en.txt").read_text(encoding="utf-8").splitlines()[:20]
    lines = [line for line in lines if line]
    ids = [np.array(tokens, dtype=np.uint32) for tokens in reference.tokenizer.encode_ids(lines)]
    assert all(UNKNOWN_ID not in line for line in ids), "its surface would be needed"
    loss = heldout_loss(reference.model, CharacterTable(reference.alphabet, reference.tokenizer, []), ids)
    scores = ask(client, "/v1/score", inputs=lines)["scores"]
    assert sum(score["num_predictions"] for score in scores) == loss.num_predictions
    for direction, nats in (("forward", loss.forward), ("backward", loss.backward)):
        total = -sum(score[direction]["total"] for score in scores)
        assert math.exp(total / loss.num_predictions) == pytest.approx(
            math.exp(nats / loss.num_predictions), rel=1e-4
        )


@pytest.mark.parametrize(
    "text", ["얼굴에 ____ 가득해서", "____에서 배를", "un____able", "The bank of ____", "____"]
)
def test_candidates_of_any_length_have_the_exact_total(
    client: httpx.Client, reference: Reference, text: str
) -> None:
    candidates = ["화색이", "river", "the muddy river of a long, long valley", "뷁", "a", "👍🏽"]
    ranked = ask(client, "/v1/cloze", text=text, candidates=candidates)["candidates"]
    assert sorted(each["text"] for each in ranked) == sorted(candidates)
    for each in ranked:
        total = reference.total(text.replace("____", each["text"]))
        assert each["log_probability"] == pytest.approx(total, abs=1e-3)
    totals = [each["log_probability"] for each in ranked]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize(
    "text",
    [
        "She sat on the ____ of the river.",
        "물레골은 두 ____에서 만난다.",
        "____",
        "____ river",
        "The ____",
        "un____able",
        "(____)",
        "👍🏽____👍🏽",
    ],
)
def test_proposals_are_pieces_that_stand_in_the_blank(
    client: httpx.Client, reference: Reference, text: str
) -> None:
    reply = ask(client, "/v1/cloze", text=text, top=30)
    texts = [each["text"] for each in reply["candidates"]]
    assert len(texts) == len(set(texts)) == 30
    start = reply["blank"][0]
    pieces = set(reference.tokenizer.pieces())
    for fill in texts:
        tokens = reference.tokenized(text.replace("____", fill))
        at_blank = [
            surface
            for surface, low in zip(tokens.surfaces, tokens.starts, strict=True)
            if low == start and surface != "▁"
        ]
        assert any(piece.removeprefix("▁").startswith(fill) and piece in pieces for piece in at_blank), fill
    # They are ranked by the numbers that they would have as candidates.
    again = ask(client, "/v1/cloze", text=text, candidates=sorted(texts))["candidates"]
    asked = {each["text"]: each["log_probability"] for each in again}
    for each in reply["candidates"]:
        assert each["log_probability"] == pytest.approx(asked[each["text"]], abs=1e-4)


def test_the_best_of_all_pieces_are_proposed(client: httpx.Client, reference: Reference) -> None:
    """The shortlist is half the vocabulary here; the best of all words that are one piece are in it."""
    text = "She sat on the ____ of the river."
    words = [
        piece[1:]
        for piece in reference.tokenizer.pieces()
        if len(piece) > 1 and reference.tokenized(f"a {piece[1:]}").surfaces == ["▁a", piece]
    ]
    assert len(words) > 200
    best = ask(client, "/v1/cloze", text=text, candidates=words)["candidates"][:10]
    proposed = ask(client, "/v1/cloze", text=text, top=100)["candidates"]
    found = {each["text"] for each in proposed}
    assert [each["text"] for each in best if each["text"] not in found] == []


@settings(max_examples=50)
@given(
    before=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    after=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    candidate=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
)
def test_any_candidate_in_any_text_has_the_score_of_the_filled_in_text(
    client: httpx.Client, reference: Reference, before: str, after: str, candidate: str
) -> None:
    blank = [len(before), len(before) + 2]
    request = {"text": f"{before}__{after}", "blank": blank, "candidates": [candidate]}
    reply = client.post("/v1/cloze", json=request)
    if reply.status_code != 200:
        assert (reply.status_code, reply.json()["error"]["where"]) == (422, "candidates[0]")
        tokens = reference.tokenized(candidate)
        assert candidate.isspace() or not any(tokens.visible)
        return
    (ranked,) = reply.json()["candidates"]
    (score,) = ask(client, "/v1/score", inputs=[before + candidate + after])["scores"]
    for direction in ("forward", "backward"):
        assert ranked[direction] == pytest.approx(score[direction]["total"], abs=1e-4)


@settings(max_examples=25)
@given(
    before=st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=12),
    after=st.text(st.characters(exclude_categories=["Cs", "Co"]), max_size=12),
)
def test_any_text_gets_proposals_that_are_text(client: httpx.Client, before: str, after: str) -> None:
    blank = [len(before), len(before) + 2]
    reply = ask(client, "/v1/cloze", text=f"{before}__{after}", blank=blank, top=3)
    texts = [each["text"] for each in reply["candidates"]]
    assert len(set(texts)) == 3
    for text in texts:
        assert text.strip()
        assert not {"▁", "<unk>", "<s>"} & {text, text[0]}

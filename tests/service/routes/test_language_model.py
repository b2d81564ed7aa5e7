"""POST /v1/score and /v1/cloze: whole replies, through the real queue and a fake model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from service.language_model_schemas import ClozeReply, ScoreReply
from tests.service.conftest import serving_runtime
from tests.service.fake_backend import NUM_LAYERS, PIECES, FakeRuntime, expected_log_probability, number
from tests.service.routes.asking import ask

BOUNDARY_ID, BOUNDARY_NUMBER = 1, -1.0
TOP = NUM_LAYERS - 1

PROPOSED = PIECES[2:]
"""All but the unknown piece and the boundary."""


def expected(*tokens: str) -> tuple[list[float], list[float]]:
    """Return what the fake says of a sentence, forward and backward: of each token, then of the boundary."""
    ids = [PIECES.index(token) if token in PIECES else 0 for token in tokens]
    numbers = [BOUNDARY_NUMBER, *map(number, tokens)]
    forward = [expected_log_probability([numbers[t], t - 1], id) for t, id in enumerate([*ids, BOUNDARY_ID])]
    backward = [expected_log_probability([TOP, len(ids) - 2 - t], id) for t, id in enumerate(ids)]
    backward.append(expected_log_probability([TOP, len(ids) - 1], BOUNDARY_ID))
    return [round(value, 6) for value in forward], [round(value, 6) for value in backward]


def direction(values: Sequence[float], *, listed: Sequence[float] | None = None) -> dict[str, Any]:
    """Return a direction of a reply. values: of each token and the boundary; listed: when some are folded."""
    total = round(sum(values), 6)
    return {
        "log_probabilities": list(values[:-1]) if listed is None else listed,
        "boundary": values[-1],
        "total": total,
        "perplexity": pytest.approx(math.exp(-total / len(values)), rel=1e-12),
    }


def candidate(text: str, *tokens: str) -> dict[str, Any]:
    """Return a candidate of a reply, whose share may be any; tokens: of the filled-in text."""
    forward, backward = (round(sum(values), 6) for values in expected(*tokens))
    return {
        "text": text,
        "log_probability": round((forward + backward) / 2, 6),
        "forward": forward,
        "backward": backward,
        "num_unknown": sum(token not in PIECES for token in tokens),
    }


def without_shares(reply: Any) -> list[dict[str, Any]]:
    """Return a reply's candidates without their shares, which must be the softmax of the rest."""
    candidates: list[dict[str, Any]] = reply["candidates"]
    weights = [math.exp(each["log_probability"]) for each in candidates]
    shares = [each.pop("share") for each in candidates]
    assert shares == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-9)
    return candidates


def test_scores_of_a_string_and_a_list_of_words(client: httpx.Client) -> None:
    reply = ask(client, "/v1/score", inputs=["c 강에서 x", ["a-b", "c"]])
    string, words = expected("c", "강에서", "x"), expected("a", "-b", "c")
    assert reply == {
        "model": "fake",
        "scores": [
            {
                "tokens": [
                    {"text": "c", "start": 0, "end": 1},
                    {"text": "강에서", "start": 2, "end": 5},
                    {"text": "x", "start": 6, "end": 7},
                ],
                "num_predictions": 4,
                "num_unknown": 1,
                "forward": direction(string[0]),
                "backward": direction(string[1]),
                "perplexity": pytest.approx(math.exp(-(sum(string[0]) + sum(string[1])) / 8), rel=1e-12),
            },
            {
                "tokens": [
                    {"text": "a", "start": 0, "end": 1, "word": 0},
                    {"text": "-b", "start": 1, "end": 3, "word": 0},
                    {"text": "c", "start": 0, "end": 1, "word": 1},
                ],
                "num_predictions": 4,
                "num_unknown": 1,
                "forward": direction(words[0]),
                "backward": direction(words[1]),
                "perplexity": pytest.approx(math.exp(-(sum(words[0]) + sum(words[1])) / 8), rel=1e-12),
            },
        ],
    }


def test_white_space_that_is_read_but_not_shown_counts_to_the_next_token(client: httpx.Client) -> None:
    (score,) = ask(client, "/v1/score", inputs=["a _ b"])["scores"]
    assert [token["text"] for token in score["tokens"]] == ["a", "b"]
    forward, backward = expected("a", "_", "b")
    assert score["num_predictions"] == 4
    listed = [forward[0], round(forward[1] + forward[2], 6)]
    assert score["forward"] == direction(forward, listed=listed)
    listed = [backward[0], round(backward[1] + backward[2], 6)]
    assert score["backward"] == direction(backward, listed=listed)


def test_scores_keep_the_order_of_the_request(client: httpx.Client) -> None:
    sentences = [" ".join("abcdefgh"[: i % 8 + 1]) for i in range(50)]
    scores = ask(client, "/v1/score", inputs=sentences)["scores"]
    for sentence, score in zip(sentences, scores, strict=True):
        forward, backward = expected(*sentence.split())
        assert score["forward"] == direction(forward)
        assert score["backward"] == direction(backward)


def test_a_long_sentence_is_scored_in_slices(runtime: FakeRuntime) -> None:
    tokens = ["abcdefghij"[i * i % 10] for i in range(40)]
    with serving_runtime(runtime, slice_tokens=7) as client:
        (score,) = ask(client, "/v1/score", inputs=[" ".join(tokens)])["scores"]
    assert runtime.batches == [[7]] * 6
    forward, backward = expected(*tokens)
    assert score["forward"] == direction(forward)
    assert score["backward"] == direction(backward)


def test_candidates_for_a_blank(client: httpx.Client) -> None:
    reply = ask(client, "/v1/cloze", text="a ____ b", candidates=["j", "c d", "a"])
    assert (reply["model"], reply["blank"]) == ("fake", [2, 6])
    assert without_shares(reply) == [
        candidate("a", "a", "a", "b"),
        candidate("c d", "a", "c", "d", "b"),
        candidate("j", "a", "j", "b"),
    ]


def test_a_candidates_numbers_are_those_of_the_filled_in_text(client: httpx.Client) -> None:
    reply = ask(client, "/v1/cloze", text="a ____ _ b", candidates=["c d"])
    (score,) = ask(client, "/v1/score", inputs=["a c d _ b"])["scores"]
    (only,) = reply["candidates"]
    assert (only["forward"], only["backward"]) == (score["forward"]["total"], score["backward"]["total"])
    assert only["share"] == 1.0


@pytest.mark.parametrize(
    ("text", "blank", "tokens"),
    [
        ("____ b c", None, ["x", "b", "c"]),
        ("b c ____", None, ["b", "c", "x"]),
        ("____", None, ["x"]),
        ("b ____c", None, ["b", "xc"]),
        ("b ____ c", [2, 5], ["b", "x_", "c"]),
        ("b c", [0, 3], ["x"]),
        ("b c", [2, 2], ["b", "xc"]),
        ("", [0, 0], ["x"]),
        ("__ ____ c", [3, 7], ["__", "x", "c"]),
    ],
)
def test_a_blank_anywhere(
    client: httpx.Client, text: str, blank: list[int] | None, tokens: list[str]
) -> None:
    reply = ask(client, "/v1/cloze", text=text, candidates=["x"], blank=blank)
    assert without_shares(reply) == [candidate("x", *tokens)]
    start = text.index("____") if blank is None else blank[0]
    assert reply["blank"] == (blank or [start, start + 4])


def test_equal_candidates_keep_the_order_of_the_request(client: httpx.Client) -> None:
    reply = ask(client, "/v1/cloze", text="a ____", candidates=["x", " x", "x "])  # one filled-in text
    assert [each["text"] for each in reply["candidates"]] == ["x", " x", "x "]
    assert [each["share"] for each in reply["candidates"]] == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize("top", [None, 1, 3, 100])
def test_proposals_are_the_best_pieces(client: httpx.Client, top: int | None) -> None:
    fields = {} if top is None else {"top": top}
    reply = ask(client, "/v1/cloze", text="b ____ c", **fields)
    ranked = [candidate(piece, "b", piece, "c") for piece in PROPOSED]
    ranked.sort(key=lambda each: -float(each["log_probability"]))
    assert without_shares(reply) == ranked[: top or 10]
    assert reply["blank"] == [2, 6]


@pytest.mark.parametrize("text", ["____", "____ c", "b ____"])
def test_proposals_at_the_ends_have_the_numbers_of_candidates(client: httpx.Client, text: str) -> None:
    proposed = ask(client, "/v1/cloze", text=text, top=100)
    assert sorted(each["text"] for each in proposed["candidates"]) == sorted(PROPOSED)
    order = [each["text"] for each in proposed["candidates"]]
    assert ask(client, "/v1/cloze", text=text, candidates=order) == proposed


def test_a_piece_that_would_not_stand_in_the_blank_is_not_proposed(client: httpx.Client) -> None:
    """The fake's tokens are what spaces separate: with the c after it, no piece is a token of its own."""
    assert ask(client, "/v1/cloze", text="b ____c") == {"model": "fake", "blank": [2, 6], "candidates": []}


def test_a_piece_may_go_on_into_the_text(client: httpx.Client) -> None:
    reply = ask(client, "/v1/cloze", text="b ____에서 c")
    assert without_shares(reply) == [candidate("강", "b", "강에서", "c")]


def test_replies_and_examples_are_what_the_document_says(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path, reply_type in (("/v1/score", ScoreReply), ("/v1/cloze", ClozeReply)):
        body = paths[path]["post"]["requestBody"]["content"]["application/json"]
        reply = client.post(path, json=body["example"])
        assert reply.status_code == 200, reply.text
        reply_type.model_validate_json(reply.content, strict=True, extra="forbid")

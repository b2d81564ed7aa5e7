"""From log-probabilities to the numbers of a reply, by the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.tokenizer import Tokenized
from service.engine.sentences import Scores
from service.language_model import perplexity, ranking, score


def tokens(*visible: bool) -> Tokenized:
    """Return as many tokens, of which only these are shown; the first is unknown."""
    count = len(visible)
    return Tokenized(["x"] * count, [0, *[2] * count][:count], [0] * count, [1] * count, None, list(visible))


def scores(forward: list[float], backward: list[float]) -> Scores:
    return Scores(np.array(forward, dtype=np.float32), np.array(backward, dtype=np.float32))


def test_every_token_and_one_boundary_is_predicted_in_each_direction() -> None:
    result = score(tokens(True, True), scores([-1.5, -2.25, -0.25], [-4.5, -3.0, -1.0]))
    listed = {name: result[name].pop("log_probabilities").tolist() for name in ("forward", "backward")}
    assert listed == {"forward": [-1.5, -2.25], "backward": [-3.0, -1.0]}
    assert result == {
        "num_predictions": 3,
        "num_unknown": 1,
        "forward": {"boundary": -0.25, "total": -4.0, "perplexity": math.exp(4 / 3)},
        "backward": {"boundary": -4.5, "total": -8.5, "perplexity": math.exp(8.5 / 3)},
        "perplexity": math.exp(12.5 / 6),
    }


@pytest.mark.parametrize(
    ("visible", "forward", "backward"),
    [
        ((False, True, True), [-3.0, -4.0], [-48.0, -64.0]),
        ((True, False, True), [-1.0, -6.0], [-16.0, -96.0]),
        ((True, True, False), [-1.0, -6.0], [-16.0, -96.0]),  # none follows: it counts to the last
        ((False, False, True), [-7.0], [-112.0]),
        ((False, True, False), [-7.0], [-112.0]),
    ],
)
def test_white_space_counts_to_the_token_after_it(
    visible: tuple[bool, ...], forward: list[float], backward: list[float]
) -> None:
    result = score(tokens(*visible), scores([-1, -2, -4, -8], [-128, -16, -32, -64]))
    assert result["forward"]["log_probabilities"].tolist() == forward
    assert result["backward"]["log_probabilities"].tolist() == backward
    assert (result["forward"]["boundary"], result["backward"]["boundary"]) == (-8.0, -128.0)
    assert (result["forward"]["total"], result["backward"]["total"]) == (-15.0, -240.0)
    assert result["num_predictions"] == 4
    assert result["forward"]["perplexity"] == math.exp(15 / 4)


def test_what_is_listed_adds_up_to_the_last_decimal() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = -rng.exponential(5, 301).astype(np.float32)
        direction = score(tokens(*[True, False, True] * 100), Scores(values, values))["forward"]
        # What a client reads are these decimals.
        listed = [*direction["log_probabilities"].tolist(), direction["boundary"]]
        assert all(number == float(f"{number:.6f}") for number in [*listed, direction["total"]])
        assert round(math.fsum(listed), 6) == direction["total"]
        assert direction["total"] == pytest.approx(values.astype(np.float64).sum(), abs=301 * 5e-7)


def test_certainty_is_plain_zero() -> None:
    result = score(tokens(True), scores([-1e-8, 0.0], [-0.0, -1e-9]))
    assert str(result["forward"]["log_probabilities"].tolist()) == "[0.0]"
    assert (str(result["forward"]["total"]), str(result["backward"]["boundary"])) == ("0.0", "0.0")
    assert result["perplexity"] == 1.0


def test_a_perplexity_that_no_float_holds_is_none() -> None:
    assert perplexity(-709.0, 1) == math.exp(709)
    assert perplexity(-710.0, 1) is None
    assert score(tokens(True), scores([-2000, -2000], [-1, -1]))["forward"]["perplexity"] is None


def test_candidates_are_ranked_by_the_mean_of_both_totals() -> None:
    ranked = ranking(
        ["worst", "best", "middle"],
        [tokens(True), tokens(), tokens(True, False)],
        [scores([-4, -6], [-2, -8]), scores([-1], [-2]), scores([-0.5, -2.5], [-1, -1])],
    )
    weights = [math.exp(0), math.exp(-1), math.exp(-8.5)]
    expected = [("best", -1.5, -1.0, -2.0), ("middle", -2.5, -3.0, -2.0), ("worst", -10.0, -10.0, -10.0)]
    for candidate, (text, mean, forward, backward), weight in zip(ranked, expected, weights, strict=True):
        assert candidate.pop("share") == pytest.approx(weight / sum(weights), rel=1e-12)  # type: ignore[misc]
        assert candidate == {
            "text": text, "log_probability": mean, "forward": forward, "backward": backward,
            "num_unknown": int(text != "best"),
        }  # fmt: skip


def test_equal_candidates_keep_their_order_and_share() -> None:
    equal = [scores([-1], [-3]), scores([-2], [-2]), scores([-3.0000001], [-1])]
    ranked = ranking(["c", "a", "b"], [tokens(True)] * 3, equal)
    assert [candidate["text"] for candidate in ranked] == ["c", "a", "b"]
    assert [candidate["share"] for candidate in ranked] == pytest.approx([1 / 3] * 3)


def test_shares_are_of_the_candidates_that_are_kept() -> None:
    given = [scores([-3], [-3]), scores([-1], [-1]), scores([-1], [-1])]
    ranked = ranking(["a", "b", "c"], [tokens()] * 3, given, top=2)
    assert [(candidate["text"], candidate["share"]) for candidate in ranked] == [("b", 0.5), ("c", 0.5)]


def test_a_text_far_less_probable_than_another_has_a_share_of_zero() -> None:
    ranked = ranking(["a", "b"], [tokens()] * 2, [scores([-5000], [-5000]), scores([-1], [-1])])
    assert [candidate["share"] for candidate in ranked] == [1.0, 0.0]


def test_no_candidates() -> None:
    assert ranking([], [], []) == []

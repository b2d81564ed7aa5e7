"""A scored sentence on a terminal and in columns, from numbers that are easy to follow."""

from __future__ import annotations

from typing import Any

import pytest

from service.commands.scores import STEPS, coloured, columns, legend

TEXT = "배를 탔다"
SCORE: dict[str, Any] = {
    "tokens": [
        {"text": "배", "start": 0, "end": 1},
        {"text": "를", "start": 1, "end": 2},
        {"text": "탔다", "start": 3, "end": 5},
    ],
    "num_predictions": 4,
    "num_unknown": 1,
    "forward": {
        "log_probabilities": [-0.5, -2.0, -11.25],
        "boundary": -1.0,
        "total": -14.75,
        "perplexity": 39.95,
    },
    "backward": {
        "log_probabilities": [-9.9, 0.0, -4.0],
        "boundary": -0.1,
        "total": -14.0,
        "perplexity": 33.1,
    },
    "perplexity": 36.4,
}


def painted(text: str, step: int) -> str:
    return f"\x1b[{STEPS[step]}m{text}\x1b[0m"


def test_each_direction_colours_each_token_by_its_surprise() -> None:
    forward, backward = coloured(TEXT, SCORE)
    assert forward == f"-> {painted('배', 0)}{painted('를', 1)} {painted('탔다', 5)}  perplexity 40.0"
    assert backward == (
        f"<- {painted('배', 4)}{painted('를', 0)} {painted('탔다', 2)}  perplexity 33.1, both 36.4; "
        "1 of 3 tokens unknown"
    )


def test_columns_align() -> None:
    assert columns(TEXT, SCORE) == [
        "배를 탔다",
        "token             forward  backward",
        "배                  -0.50     -9.90",
        "를                  -2.00      0.00",
        "탔다               -11.25     -4.00",
        "(end, beginning)    -1.00     -0.10",
        "log probability    -14.75    -14.00",
        "perplexity           40.0      33.1",
        "both directions: perplexity 36.4; 1 of 3 tokens unknown",
    ]


def test_two_tokens_of_one_character_show_it_once() -> None:
    tokens = [{"text": "½", "start": 0, "end": 1}, {"text": "½", "start": 0, "end": 1}]
    direction = {"log_probabilities": [-1.0, -3.0], "boundary": 0.0, "total": -4.0, "perplexity": 3.8}
    score = {
        "tokens": tokens,
        "forward": direction,
        "backward": direction,
        "perplexity": 3.8,
        "num_unknown": 0,
    }
    assert coloured("½", score)[0] == f"-> {painted('½', 0)}{painted('', 1)}  perplexity 3.8"


def test_what_a_float_cannot_hold_is_said() -> None:
    assert "both directions: perplexity beyond floats" in columns(TEXT, {**SCORE, "perplexity": None})[-1]


def test_the_legend_has_every_colour_once() -> None:
    shown = legend()
    assert [shown.count(f"\x1b[{sgr}m") for sgr in STEPS] == [1] * len(STEPS)
    assert f"{painted(' under 2 ', 0)} {painted(' under 4 ', 1)}" in shown
    assert shown.endswith(painted(" 10 and more ", 5))


@pytest.mark.parametrize("sgr", STEPS)
def test_every_colour_has_a_text_that_is_readable_on_it(sgr: str) -> None:
    """By WCAG's contrast, 4.5 at least, from the colours of xterm's cube."""
    *_, background, text = map(int, sgr.split(";"))
    cube = (0, 95, 135, 175, 215, 255)
    index = background - 16
    channels = [cube[index // 36], cube[index // 6 % 6], cube[index % 6]]
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    low, high = sorted((luminance, {30: 0.0, 97: 1.0}[text]))
    assert (high + 0.05) / (low + 0.05) >= 4.5

"""Scored sentences for people: coloured tokens, or columns. They come as replies of /v1/score have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.commands.terminal import printable, table

STEP_NATS = 2
STEPS = ("48;5;230;30", "48;5;222;30", "48;5;215;30", "48;5;208;30", "48;5;160;97", "48;5;88;97")
"""Background and text (SGR, 256 colours) of a surprise under 2 nats, under 4, and so on; of 10 and more the
last. Each pair is readable by itself, whatever the terminal's own colours are, and they darken in order."""

Score = Mapping[str, Any]


def coloured(text: str, score: Score) -> list[str]:
    """Return the sentence as each direction reads it, its tokens in the colours of their surprise."""
    forward, backward = score["forward"], score["backward"]
    both = f", both {_number(score['perplexity'])}{_unknown(score)}"
    return [
        f"-> {_painted(text, score['tokens'], forward)}  perplexity {_number(forward['perplexity'])}",
        f"<- {_painted(text, score['tokens'], backward)}  perplexity {_number(backward['perplexity'])}{both}",
    ]


def legend() -> str:
    """Return what the colours mean."""
    marks = [f"under {STEP_NATS * (step + 1)}" for step in range(len(STEPS) - 1)]
    marks.append(f"{STEP_NATS * (len(STEPS) - 1)} and more")
    swatches = " ".join(_paint(f" {mark} ", sgr) for mark, sgr in zip(marks, STEPS, strict=True))
    return f"surprise, -log p: {swatches}"


def columns(text: str, score: Score) -> list[str]:
    """Return the sentence, a line for each token, and what they add up to."""
    forward, backward = score["forward"], score["backward"]
    rows = [("token", "forward", "backward")]
    both = zip(forward["log_probabilities"], backward["log_probabilities"], strict=True)
    for token, (after, before) in zip(score["tokens"], both, strict=True):
        rows.append((printable(token["text"]), f"{after:.2f}", f"{before:.2f}"))
    rows.append(("(end, beginning)", f"{forward['boundary']:.2f}", f"{backward['boundary']:.2f}"))
    rows.append(("log probability", f"{forward['total']:.2f}", f"{backward['total']:.2f}"))
    rows.append(("perplexity", _number(forward["perplexity"]), _number(backward["perplexity"])))
    return [
        printable(text),
        *table(rows, numbers=(1, 2)),
        f"both directions: perplexity {_number(score['perplexity'])}{_unknown(score)}",
    ]


def _painted(text: str, tokens: list[Any], direction: Mapping[str, Any]) -> str:
    parts, at = [], 0
    for token, log_probability in zip(tokens, direction["log_probabilities"], strict=True):
        step = min(int(-log_probability / STEP_NATS), len(STEPS) - 1)
        parts.append(printable(text[at : token["start"]]))
        # Two tokens may share a character; it is shown with the first.
        parts.append(_paint(printable(text[max(at, token["start"]) : token["end"]]), STEPS[step]))
        at = max(at, token["end"])
    return "".join(parts) + printable(text[at:])


def _paint(text: str, sgr: str) -> str:
    return f"\x1b[{sgr}m{text}\x1b[0m"


def _number(perplexity: float | None) -> str:
    return "beyond floats" if perplexity is None else f"{perplexity:,.1f}"


def _unknown(score: Score) -> str:
    count = score["num_unknown"]
    return f"; {count} of {len(score['tokens'])} tokens unknown" if count else ""

"""How probable a text is: from the log-probability of every token to the numbers of a reply.

Natural logarithms throughout. A sentence of T tokens is T + 1 predictions in each direction: forward every
token and the closing boundary, backward every token and the opening boundary. All numbers of a reply are
rounded to six decimals, about what float32 holds, before they are added up: what a client adds up itself is
what stands there.

Shape letters: T tokens of a sentence, white space included; K candidates for a blank.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import orjson

from model.tokenizer import UNKNOWN_ID, Tokenized
from service.engine.backend import Floats
from service.engine.sentences import Scores
from service.replies.pooling import token_span
from service.schemas import Text

DECIMALS = 6

Doubles = npt.NDArray[np.float64]


def score_reply(model: str, inputs: Sequence[Text], scored: Sequence[tuple[Tokenized, Scores]]) -> bytes:
    """Return the body of the reply of /v1/score."""
    scores = [
        {
            "tokens": [token_span(text, tokenized, i) for i, shown in enumerate(tokenized.visible) if shown],
            **score(tokenized, scores),
        }
        for text, (tokenized, scores) in zip(inputs, scored, strict=True)
    ]
    return orjson.dumps({"model": model, "scores": scores}, option=orjson.OPT_SERIALIZE_NUMPY)


class Ranked(TypedDict):
    """A candidate of a reply."""

    text: str
    log_probability: float
    forward: float
    backward: float
    share: float
    num_unknown: int


def score(tokenized: Tokenized, scores: Scores) -> dict[str, Any]:
    """Return what a reply says of one sentence, its `tokens` left out."""
    forward = _direction(tokenized, scores.forward[:-1], scores.forward[-1])
    backward = _direction(tokenized, scores.backward[1:], scores.backward[0])
    num_predictions = len(scores.forward)
    return {
        "num_predictions": num_predictions,
        "num_unknown": _num_unknown(tokenized),
        "forward": forward,
        "backward": backward,
        "perplexity": perplexity(forward["total"] + backward["total"], 2 * num_predictions),
    }


def perplexity(total: float, num_predictions: int) -> float | None:
    """Return exp of the mean negative log-probability; None where a float cannot hold it."""
    nats = -total / num_predictions
    return math.exp(nats) if nats < math.log(sys.float_info.max) else None


def ranking(
    candidates: Sequence[str], filled: Sequence[Tokenized], scores: Sequence[Scores], top: int | None = None
) -> list[Ranked]:
    """Return the candidates, best first, at most `top` of them; those that are equal keep their order.

    filled: the text with each of the K candidates in its blank; scores: of these.
    """
    if not candidates:
        return []
    forward_K = _rounded([_rounded(each.forward).sum() for each in scores])
    backward_K = _rounded([_rounded(each.backward).sum() for each in scores])
    means_K = _rounded((forward_K + backward_K) / 2)
    best = np.argsort(-means_K, kind="stable")[:top]
    weights = np.exp(means_K[best] - means_K[best[0]])
    return [
        Ranked(
            text=candidates[k],
            log_probability=float(means_K[k]),
            forward=float(forward_K[k]),
            backward=float(backward_K[k]),
            share=float(share),
            num_unknown=_num_unknown(filled[k]),
        )
        for k, share in zip(best, weights / weights.sum(), strict=True)
    ]


def _num_unknown(tokenized: Tokenized) -> int:
    return tokenized.ids.count(UNKNOWN_ID)


def _direction(tokenized: Tokenized, tokens_T: Floats, boundary: np.float32) -> dict[str, Any]:
    log_probabilities = _rounded(_of_visible(tokenized, _rounded(tokens_T)))
    rounded_boundary = float(_rounded(boundary))
    total = float(_rounded(log_probabilities.sum() + rounded_boundary))
    return {
        "log_probabilities": log_probabilities,
        "boundary": rounded_boundary,
        "total": total,
        "perplexity": perplexity(total, len(tokens_T) + 1),
    }


def _of_visible(tokenized: Tokenized, log_probabilities_T: Doubles) -> Doubles:
    """Return one number for each visible token; white space counts to the visible token after it, or to the
    last.

    By the chain rule that is the exact log-probability of the white space and the token together, in both
    directions.
    """
    visible = np.flatnonzero(tokenized.visible)
    owners_T = np.minimum(np.searchsorted(visible, np.arange(len(tokenized))), len(visible) - 1)
    sums = np.zeros(len(visible))
    np.add.at(sums, owners_T, log_probabilities_T)
    return sums


def _rounded(values: npt.ArrayLike) -> Doubles:
    rounded: Doubles = np.asarray(values, dtype=np.float64).round(DECIMALS)
    return rounded + 0.0  # no -0.0

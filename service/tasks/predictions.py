"""What a learned task says of texts, as the reply to /v1/tasks/{name}/predict has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson

from model.scalar_mix import mix
from model.tasks.task import Task, predict, predict_senses
from model.tokenizer import Tokenized
from service.engine.backend import Floats
from service.errors import ErrorType, ServiceError
from service.replies.size import JSON_NUMBER_BYTES
from service.tasks.examples import Item

DIGITS = 6


def predictions_reply(
    task: Task, items: Sequence[Item], encoded: Sequence[tuple[Tokenized, Floats]]
) -> bytes:
    """Return the body of a reply.

    encoded: each item's tokens, and their vectors: of every layer (L, T, D) if the task `reads_texts`,
    otherwise (T, D) in its mix. The task has a head.
    """
    results = list(zip(items, encoded, strict=True))
    match task.kind:
        case "classify":
            told = [_label(task, p_K) for p_K in predict(task, _rows(results))]
        case "tag":
            by_row = (_label(task, p_K) for p_K in predict(task, _rows(results)))
            told = [_words(by_row, item.num_rows) for item in items]
        case "sense":
            told = list(_senses(task, items, *_words_and_texts(task, results)))
    return orjson.dumps({"predictions": told}, option=orjson.OPT_SERIALIZE_NUMPY)


def _rows(results: Sequence[tuple[Item, tuple[Tokenized, Floats]]]) -> Floats:
    return np.concatenate([item.rows(*result) for item, result in results])


def _label(task: Task, probabilities_K: np.ndarray[Any, Any]) -> dict[str, Any]:
    return _best(task.labels, probabilities_K)


def _words(by_row: Iterator[dict[str, Any]], num_words: int) -> dict[str, Any]:
    words = [next(by_row) for _ in range(num_words)]
    return {
        "labels": [word["label"] for word in words],
        "probabilities": [word["probabilities"] for word in words],
    }


def _words_and_texts(
    task: Task, results: Sequence[tuple[Item, tuple[Tokenized, Floats]]]
) -> tuple[Floats, Floats | None]:
    """Return the marked words in the task's mix, (N, D), and their global contexts if it reads them."""
    if not task.reads_texts:
        return _rows(results), None
    features_NCD = np.concatenate([item.features(*result) for item, result in results])
    features_CND = np.ascontiguousarray(features_NCD.swapaxes(0, 1))
    return mix(features_CND[:-1], task.weights, task.gamma), features_CND[-1]


def _senses(
    task: Task, items: Sequence[Item], mixed_ND: Floats, global_ND: Floats | None
) -> Iterator[dict[str, Any]]:
    words = [item.word or "" for item in items]
    senses = predict_senses(task, mixed_ND, global_ND, words)
    for word, mixed_D, sense in zip(words, mixed_ND, senses, strict=True):
        if sense.known:
            labels = [task.labels[k] for k in sense.labels]
            yield {"word": word, "known": True, **_best(labels, sense.probabilities)}
        else:
            yield {"word": word, "known": False, "label": None, "vector": mixed_D}


def _best(labels: Sequence[str], probabilities_K: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the most probable label, and all of them in order; of equal ones the first stays first."""
    order = np.argsort(-probabilities_K, kind="stable")
    probabilities = {labels[k]: round(float(probabilities_K[k]), DIGITS) for k in order}
    label = labels[int(order[0])]
    return {"label": label, "probability": probabilities[label], "probabilities": probabilities}


BYTES_OF_A_PROBABILITY = 32
"""In JSON, with its label."""


def predictions_size(task: Task, num_rows: int, max_bytes: int) -> int:
    """Return about how many bytes a reply for so many rows has. Raises ServiceError above `max_bytes`."""
    row_bytes = max(len(task.labels), 1) * BYTES_OF_A_PROBABILITY
    if task.kind == "sense":  # a word that the task never saw gets its vector instead
        row_bytes = max(row_bytes, (task.dimension or 0) * JSON_NUMBER_BYTES)
    num_bytes = num_rows * row_bytes
    if num_bytes > max_bytes:
        message = (
            f"expected a reply of at most {max_bytes} bytes, got about {num_bytes} for {num_rows} "
            f"predictions of {len(task.labels)} labels"
        )
        raise ServiceError(ErrorType.reply_too_large, message, "inputs")
    return num_bytes

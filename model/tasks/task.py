"""A learned task: a layer mix and, where it predicts, a head on the served vectors. What a fit gives, and
what a user may upload; fit.py learns one.

Shape letters: N examples, L layers, D vector dim, K labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.scalar_mix import check_mix, softmax_weights
from model.tasks.calibration import Doubles
from model.tasks.fields import Fields
from model.tasks.head import LinearHead, SenseHead, SensePrediction
from model.tasks.report import Report

Floats = npt.NDArray[np.float32]
Kind = Literal["classify", "tag", "sense"]
KINDS: tuple[Kind, ...] = ("classify", "tag", "sense")

FORMAT_VERSION = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Task:
    """Immutable. A mix alone (a user's upload) has no labels, head or report.

    scalars: softmax(scalars) are the layers' weights; model_sha256: of the manifest of the bundle whose
    layers are mixed.
    """

    name: str
    kind: Kind
    model: str
    model_sha256: str
    scalars: tuple[float, ...]
    gamma: float
    labels: tuple[str, ...] = ()
    head: LinearHead | SenseHead | None = None
    report: Report | None = None

    @property
    def weights(self) -> Doubles:
        """The coefficients (L) that a mix takes beside gamma."""
        return softmax_weights(self.scalars)

    @property
    def dimension(self) -> int | None:
        """D that the head expects; None without a head."""
        return None if self.head is None else self.head.dimension

    @property
    def reads_texts(self) -> bool:
        """Whether senses are predicted from their texts' global contexts too."""
        return isinstance(self.head, SenseHead) and self.head.global_context > 0

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document that `from_document` reads back to the last bit."""
        return {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "kind": self.kind,
            "model": self.model,
            "model_sha256": self.model_sha256,
            "scalars": list(self.scalars),
            "gamma": self.gamma,
            "labels": list(self.labels),
            "head": None if self.head is None else self.head.to_document(),
            "report": None if self.report is None else self.report.to_document(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Task:
        """Raise ValueError naming the field, what was expected and what came.

        labels, head and report may be left out or null: labels and head together. format_version may be left
        out.
        """
        fields = Fields(document)
        # First: another format may differ in everything else.
        if fields.has("format_version") and fields.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"format_version: expected {FORMAT_VERSION}, got {fields.get('format_version')!r}"
            )
        fields.only(
            "format_version", "name", "kind", "model", "model_sha256", "scalars", "gamma", "labels", "head",
            "report",
        )  # fmt: skip
        kind = KINDS[KINDS.index(fields.one_of("kind", KINDS))]
        sha256 = fields.text("model_sha256")
        if not _SHA256.fullmatch(sha256):
            raise ValueError(
                f"model_sha256: expected 64 characters of 0-9 and a-f, got {len(sha256)} characters"
            )
        scalars = fields.numbers("scalars")
        check_mix(softmax_weights(scalars), gamma := fields.number("gamma"), len(scalars))
        labels, head = _labels_and_head(fields, kind)
        report = Report.from_document(fields.inner("report")) if fields.has("report") else None
        return cls(
            fields.text("name"), kind, fields.text("model"), sha256, scalars, gamma, labels, head, report
        )


def predict(task: Task, mixed_ND: Floats) -> Doubles:
    """Return probabilities of the task's labels, float64 (N, K), rows that sum to 1.

    mixed_ND: vectors of the task's own mix, pooled as its examples were. Raises ValueError for a task without
    a head, for `sense` (see `predict_senses`), and when D is another.
    """
    if not isinstance(task.head, LinearHead):
        raise ValueError(f"head: expected one that predicts labels, got {_what(task)}")
    return task.head.probabilities(mixed_ND)


def predict_senses(
    task: Task, mixed_ND: Floats, global_ND: Floats | None, words: Sequence[str]
) -> list[SensePrediction]:
    """Return a prediction for each word in its context, among the senses the word had in training.

    mixed_ND: vectors of the task's own mix. global_ND: the global context of each, the mean of the token
    vectors (layer 0) of its text; not needed unless the task `reads_texts`. Raises ValueError for a task of
    another kind or without a head, and when D or the number of words does not fit.
    """
    if not isinstance(task.head, SenseHead):
        raise ValueError(f"head: expected one that predicts senses, got {_what(task)}")
    if not task.reads_texts:
        return task.head.predict(mixed_ND, words)
    if global_ND is None or mixed_ND.shape != global_ND.shape:
        came = "none" if global_ND is None else global_ND.shape
        raise ValueError(f"global contexts: expected {mixed_ND.shape}, got {came}")
    x_ND = mixed_ND + np.float32(task.gamma * task.head.global_context) * global_ND
    return task.head.predict(x_ND, words)


def _what(task: Task) -> str:
    return f"a mix alone ({task.kind})" if task.head is None else f"one of kind {task.kind}"


def _labels_and_head(fields: Fields, kind: Kind) -> tuple[tuple[str, ...], LinearHead | SenseHead | None]:
    labels = fields.texts("labels") if fields.has("labels") else ()
    if not fields.has("head"):
        if labels:
            raise ValueError(f"head: expected one for the {len(labels)} labels, found none")
        return (), None
    if not labels:
        raise ValueError("labels: expected the labels of the head, found none")
    if kind == "sense":
        return labels, SenseHead.from_document(fields.inner("head"), len(labels))
    if len(labels) < 2:
        raise ValueError("labels: expected at least 2, got 1")
    return labels, LinearHead.from_document(fields.inner("head"), len(labels))

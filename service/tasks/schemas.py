"""What requests about tasks may say and what their replies say.

The document that GET and PUT /v1/tasks/{name} move is checked field by field where it is read
(model/tasks/task.py); its type here is to be documented only, as those of the replies are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from model.tasks.task import Kind
from service.schemas import Request, Text

_MODEL = "Name of a bundle; may be left out when one is served."
_START = "Where the marked word begins in the text, in Unicode code points."
_WORD = (
    "Which word it is. Default: the marked text, in NFC and lower case. Words that are written differently "
    "share their senses when they are given the same `word`."
)


class ClassifyInput(Request):
    """A sentence."""

    text: Text = Field(description="A string, or a list of words when it is tokenised already.")


class TagInput(Request):
    """A sentence as its words."""

    words: Annotated[list[str], Field(min_length=1, fail_fast=True)]


class SenseInput(Request):
    """A word in its sentence."""

    text: str
    start: int = Field(description=_START)
    end: int = Field(description="And where it ends: text[start:end].")
    word: str | None = Field(default=None, description=_WORD)


class ClassifyExample(ClassifyInput):
    """A sentence and its label."""

    label: str


class TagExample(TagInput):
    """The words of a sentence, and a label for each."""

    labels: Annotated[list[str], Field(fail_fast=True)]


class SenseExample(SenseInput):
    """A word in its sentence, and its sense there."""

    label: str


Example = ClassifyExample | TagExample | SenseExample
Input = ClassifyInput | TagInput | SenseInput


EXAMPLE_OF: dict[Kind, type[ClassifyExample | TagExample | SenseExample]] = {
    "classify": ClassifyExample,
    "tag": TagExample,
    "sense": SenseExample,
}


class ClassifyFit(Request):
    """Sentences, each with a label."""

    kind: Literal["classify"]
    model: str | None = Field(default=None, description=_MODEL)
    examples: list[ClassifyExample] = Field(fail_fast=True)


class TagFit(Request):
    """Sentences with a label for each of their words."""

    kind: Literal["tag"]
    model: str | None = Field(default=None, description=_MODEL)
    examples: list[TagExample] = Field(fail_fast=True)


class SenseFit(Request):
    """Marked words, each with the sense that it has in its sentence."""

    kind: Literal["sense"]
    model: str | None = Field(default=None, description=_MODEL)
    examples: list[SenseExample] = Field(fail_fast=True)


class ClassifyPredict(Request):
    """Sentences whose label is asked for."""

    model: str | None = Field(default=None, description="The task's own model, or left out.")
    inputs: list[ClassifyInput] = Field(min_length=1, fail_fast=True)


class TagPredict(Request):
    """Sentences whose words' labels are asked for."""

    model: str | None = Field(default=None, description="The task's own model, or left out.")
    inputs: list[TagInput] = Field(min_length=1, fail_fast=True)


class SensePredict(Request):
    """Marked words whose sense is asked for."""

    model: str | None = Field(default=None, description="The task's own model, or left out.")
    inputs: list[SenseInput] = Field(min_length=1, fail_fast=True)


class TaskFit(BaseModel):
    """How far a fit is."""

    name: str
    state: Literal["queued", "running", "failed", "cancelled", "done"]
    progress: float = Field(description="From 0 to 1; a second old at most while it runs.")
    message: str = Field(description="What it is doing, or why it has failed.")
    num_examples: int = Field(description="Sentences, words to tag, or marked words.")
    cancel_requested: bool
    started_at: str = Field(description="RFC 3339, UTC.")
    ended_at: str | None


class TaskDocument(BaseModel):
    """A task, as it is moved from one server to another. For a mix that was learned elsewhere `kind` and
    `scalars` are enough; it can be embedded with, and predicts nothing."""

    format_version: int = Field(default=1, description="Of this document.")
    name: str = Field(description="As in the path; may be left out.")
    kind: Kind
    model: str = Field(description="The bundle's name; may be left out with `model_sha256`.")
    model_sha256: str = Field(
        description="Of the bundle's manifest. Left out, the task is taken to be of the bundle `model`, or "
        "of the one that is served."
    )
    scalars: list[float] = Field(description="One for each layer; their softmax are the layers' weights.")
    gamma: float = Field(description="What the mix is multiplied by; 1 when it is left out.")
    labels: list[str] = Field(description="In the order of the head's rows.")
    head: dict[str, Any] | None = Field(
        description="What predicts: arrays are `{dtype, shape, data}`, data base64 of little-endian float32. "
        "For `sense`, `global_context` is the weight of the text's mean inside the mix; left out, 0."
    )
    report: dict[str, Any] | None = Field(
        description="What the fit found out on examples that were held out: for the majority class, each "
        "layer, their mean, the learned mix and, for `sense`, the mix with the text (`learned + text`, which "
        "predicts), accuracy with its 95% interval, macro recall and log loss; "
        "calibration; the learned `weights`, for `sense` with `global_context`, the weight beside them of "
        "the mean of the text's token vectors; and a `verdict` in words."
    )


class TaskEntry(BaseModel):
    """A task as a list shows it."""

    name: str
    kind: Kind
    model: str
    model_sha256: str
    weights: list[float] = Field(description="Of the layers: softmax(scalars).")
    gamma: float
    num_labels: int
    verdict: str | None = Field(description="The report's, where there is one.")
    created_at: str = Field(description="RFC 3339, UTC.")
    updated_at: str
    size_bytes: int = Field(description="Of the document.")


class TaskList(BaseModel):
    """All tasks, by name."""

    tasks: list[TaskEntry]


class LabelPrediction(BaseModel):
    """For `classify`."""

    label: str
    probability: float
    probabilities: dict[str, float] = Field(description="Of every label, the most probable first.")


class TagPrediction(BaseModel):
    """For `tag`: one entry a word."""

    labels: list[str]
    probabilities: list[dict[str, float]]


class SensePrediction(BaseModel):
    """For `sense`."""

    word: str
    known: bool = Field(description="Whether the word was among the examples.")
    label: str | None = Field(description="Null for a word that is not known.")
    probability: float | None = Field(default=None, description="Only for a word that is known.")
    probabilities: dict[str, float] | None = Field(
        default=None,
        description="Of the word's own senses. They add up to 1, unless only one was ever seen: then its "
        "probability is (n + 1) / (n + 2), n its examples.",
    )
    vector: list[float] | None = Field(
        default=None, description="Only for a word that is not known: its vector here, in the task's mix."
    )


class Predictions(BaseModel):
    """One prediction for each input, in their order."""

    predictions: list[LabelPrediction] | list[TagPrediction] | list[SensePrediction]

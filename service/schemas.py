"""What a request may say and what a reply says, as the OpenAPI document shows them.

Requests are checked strictly: no value is turned into another type, no unknown field is passed over. The
reply's types are here to be documented only: its vectors never pass through them (replies/wire.py writes
the bytes).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from model.scalar_mix import MAX_COEFFICIENT
from service.choices import DType, Encoding, NamedLayer, Pool

# A list is left at its first wrong item: an error for each of the two million that fit into 4 MiB would take
# half a minute and 4 GB.
Words = Annotated[list[str], Field(fail_fast=True)]
Text = str | Words
StartEnd = Annotated[list[int], Field(fail_fast=True, json_schema_extra={"minItems": 2, "maxItems": 2})]
Spans = Annotated[list[StartEnd], Field(fail_fast=True)]

Coefficient = Annotated[float, Field(ge=-MAX_COEFFICIENT, le=MAX_COEFFICIENT, allow_inf_nan=False)]
Coefficients = Annotated[list[Coefficient], Field(fail_fast=True)]


class Request(BaseModel):
    """A JSON object whose fields are all known and have just the types that are written here."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class MixRequest(Request):
    """One vector from all layers: gamma x the sum of weight x layer. One number a layer, given in one way."""

    weights: Coefficients | None = Field(default=None, description="The coefficients as they are.")
    scalars: Coefficients | None = Field(
        default=None, description="Learned scalars as in ELMo: the coefficients are their softmax."
    )
    gamma: Coefficient = Field(default=1.0, description="What the sum is multiplied by.")


class EmbedRequest(Request):
    """Sentences to embed, and how."""

    model: str | None = Field(
        default=None, description="Name of a bundle; may be left out when one is served."
    )
    inputs: list[Text] = Field(
        min_length=1,
        fail_fast=True,
        description="Sentences: each a string, or a list of words when it is tokenised already.",
    )
    task: str | None = Field(
        default=None,
        description="The layers mixed as was learned for this task. At most one of `task`, `tasks`, `mix` "
        "and `layer`.",
    )
    tasks: Annotated[list[str], Field(min_length=1, fail_fast=True)] | None = Field(
        default=None,
        description="Several learned mixes from one run of the model: `vectors`, `layer_weights` and `gamma` "
        "are then objects, with an entry for each task.",
        json_schema_extra={"uniqueItems": True},
    )
    mix: MixRequest | None = Field(default=None, description="A mix of the layers, written here.")
    layer: NamedLayer | int | None = Field(
        default=None,
        description="One layer by name or number (0 is the token without its context), `average` of all (the "
        "default), or `all` of them side by side.",
    )
    pool: Pool = Field(
        default="token",
        description="What gets a row: every token, every word (the mean of its tokens), or the sentence "
        "(mean, maximum, first or last of its tokens). The words of a string are what white space separates.",
    )
    spans: Annotated[list[Spans], Field(fail_fast=True)] | None = Field(
        default=None,
        description="Instead of `pool`: for each input, which must be a string, a list of [start, end) in "
        "Unicode code points. Each gets a row, the mean of the tokens that it overlaps.",
    )
    normalize: bool = Field(
        default=False,
        description="Whether every row is scaled to length 1. A row of zeros, as a mix with `gamma` 0 gives, "
        "stays as it is.",
    )
    encoding: Encoding = Field(
        default="float",
        description="`vectors` as JSON numbers, or as base64 of little-endian values, row by row. Only for a "
        "reply in JSON.",
    )
    dtype: DType = Field(default="float32", description="Precision of the vectors in the reply.")


class Token(BaseModel):
    """A token as it was written: `text` is input[start:end]."""

    text: str
    start: int = Field(
        description="In Unicode code points, from the start of the string, or of the token's word."
    )
    end: int
    word: int | None = Field(
        default=None, description="Only for a list of words: the index of the token's word."
    )


class Word(BaseModel):
    """A word or a span of a string: `text` is input[start:end]."""

    text: str
    start: int = Field(description="In Unicode code points.")
    end: int


Rows = list[list[float]]
Layers = list[Rows]


class Embedding(BaseModel):
    """The reply for one input."""

    tokens: list[Token]
    words: list[Word] | None = Field(
        default=None, description="Only with `pool: word` for a string: the words that the rows belong to."
    )
    spans: list[Word] | None = Field(
        default=None, description="Only with `spans`: what the rows belong to, in the order of the request."
    )
    vectors: Rows | Layers | str | dict[str, Rows] | dict[str, str] = Field(
        description="Rows x dimension; with `layer: all`, layers x rows x dimension; with `tasks`, an object "
        "of rows x dimension for each task. Text instead of numbers with `encoding: base64`."
    )
    shape: list[int] | None = Field(
        default=None, description="Only with `encoding: base64`; with `tasks`, that of each."
    )
    dtype: DType | None = Field(default=None, description="Only with `encoding: base64`.")
    num_tokens: int


class EmbedReply(BaseModel):
    """One embedding for each input, in the order of the inputs."""

    model: str
    dimension: int
    layer_weights: list[float] | dict[str, list[float]] | None = Field(
        description="The coefficients of the layers, with `tasks` those of each; null with `layer: all`, "
        "which mixes none."
    )
    gamma: float | dict[str, float] = Field(description="What the mix was multiplied by, with `tasks` each.")
    embeddings: list[Embedding]


class ErrorDetail(BaseModel):
    """What went wrong."""

    type: str = Field(description="One of a fixed list, for programs.")
    message: str = Field(description="What was expected and what came, for people.")
    where: str | None = Field(
        default=None, description="The place in the request, as in `inputs[2]`; absent for none."
    )


class ErrorReply(BaseModel):
    """The body of every reply whose status is 400 or more."""

    error: ErrorDetail


class Status(BaseModel):
    """The state of the server."""

    status: str

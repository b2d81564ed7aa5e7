"""What TEI (Hugging Face text-embeddings-inference) asks and answers, as far as it makes sense here.

Source: TEI's OpenAPI document and what huggingface_hub's InferenceClient sends. TEI passes over fields that
it does not know. Here they are refused, because a misspelt one would be passed over too; those that its
clients are known to send, and that have nothing to say here, are accepted by name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from service.choices import Encoding
from service.errors import ErrorType, ServiceError
from service.schemas import Request, Words
from service.token_ids import are_token_ids


def _refuse_token_ids(value: Any) -> Any:
    if are_token_ids(value):
        message = "expected a string or a list of strings, got token ids: send text"
        raise ServiceError(ErrorType.invalid_request, message, "inputs")
    return value


Inputs = Annotated[
    str | Annotated[Words, Field(min_length=1)],
    BeforeValidator(_refuse_token_ids),
    Field(description="A text or a list of texts."),
]

# huggingface_hub writes them in lower case, TEI's own document with a capital.
TruncationDirection = Literal["left", "right", "Left", "Right"]


class Prompted(Request):
    """What TEI's requests have in common."""

    prompt_name: None = Field(default=None, description="Only null: the model knows no prompts.")
    options: dict[str, Any] | None = Field(
        default=None, description="Of Hugging Face's older inference API; has nothing to say here."
    )


class Truncatable(Prompted):
    """What TEI's requests for vectors have in common."""

    truncate: bool | None = Field(
        default=None, description="Has nothing to do: nothing is ever cut, and what is too long gets 413."
    )
    truncation_direction: TruncationDirection | None = None


class TEIEmbedRequest(Truncatable):
    """Texts to embed."""

    inputs: Inputs
    normalize: bool = Field(default=True, description="Whether every vector is scaled to length 1.")
    dimensions: int | None = Field(
        default=None, description="The model's own dimension or null: vectors are never shortened."
    )
    encoding_format: Encoding | None = Field(
        default=None,
        description="Accepted because huggingface_hub can send it; the reply is JSON numbers, as TEI's is.",
    )


class TEIEmbedAllRequest(Truncatable):
    """Texts whose tokens are to be embedded."""

    inputs: Inputs


class TEITokenizeRequest(Prompted):
    """Texts to tokenise."""

    inputs: Inputs
    add_special_tokens: bool = Field(
        default=True,
        description="Whether the boundary symbol is listed at both ends, where the model reads it.",
    )


class TEISimilarityInputs(Request):
    """A text and those to compare it with."""

    source_sentence: str
    sentences: Annotated[Words, Field(min_length=1)]


class TEISimilarityRequest(Prompted):
    """Texts to compare."""

    inputs: TEISimilarityInputs
    parameters: Truncatable | None = None


class TEIToken(BaseModel):
    """A token: `text` is input[start:stop], or the symbol itself when it is special."""

    id: int = Field(description="In the model's vocabulary.")
    text: str
    special: bool
    start: int | None = Field(description="In Unicode code points; null for a special token.")
    stop: int | None


class TEIPooling(BaseModel):
    """How a text's vector is made of its tokens'."""

    pooling: Literal["mean"]


class TEIModelType(BaseModel):
    """What the model is for."""

    embedding: TEIPooling


class TEIInfo(BaseModel):
    """The model that TEI's paths serve, and the limits of a request."""

    model_id: str
    model_sha: str = Field(description="sha256 of the bundle's manifest.")
    model_dtype: Literal["float32"]
    model_type: TEIModelType
    max_concurrent_requests: int = Field(
        description="Of the shortest texts that the queue can hold; its own limit is in tokens."
    )
    max_input_length: int = Field(description="In tokens, when nothing else waits.")
    max_batch_tokens: int
    max_batch_requests: None
    max_client_batch_size: int = Field(description="Texts in one request.")
    auto_truncate: Literal[False]
    tokenization_workers: int
    version: str = Field(description="Of this server.")
    sha: None
    docker_label: None

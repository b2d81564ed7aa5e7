"""What OpenAI's embeddings API asks and answers, as far as it makes sense here.

Source: OpenAI's API reference, "Embeddings" and "Models". Fields that it does not know are refused, as there.
LiteLLM sends null for what its caller left out (BerriAI/litellm issue 19174), so null is the default.
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
        message = (
            "expected a string or a list of strings, got token ids, which are of another model's vocabulary. "
            "LangChain's OpenAIEmbeddings sends text when it is made with check_embedding_ctx_length=False"
        )
        raise ServiceError(ErrorType.invalid_request, message, "input")
    return value


class OpenAIEmbeddingsRequest(Request):
    """Texts to embed."""

    model: str = Field(description="Name of a bundle, or `NAME:TASK` for the mix that a task has learned.")
    input: Annotated[
        str | Annotated[Words, Field(min_length=1)],
        BeforeValidator(_refuse_token_ids),
        Field(description="A text or a list of texts. No token ids: they are of another model's vocabulary."),
    ]
    encoding_format: Encoding | None = Field(
        default=None,
        description="JSON numbers (the default), or base64 of little-endian float32, which OpenAI's own "
        "clients ask for unless told otherwise.",
    )
    dimensions: int | None = Field(
        default=None, description="The model's own dimension or null: vectors are never shortened."
    )
    user: str | None = Field(default=None, description="Accepted, and neither used nor kept.")


class OpenAIEmbedding(BaseModel):
    """The vector of one text: the mean of its tokens, scaled to length 1."""

    object: Literal["embedding"]
    index: int = Field(description="Of the text in `input`.")
    embedding: list[float] | str = Field(description="Text with `encoding_format: base64`.")


class OpenAIUsage(BaseModel):
    """The tokens of all texts together."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbeddingsReply(BaseModel):
    """One embedding for each text, in the order of the texts."""

    object: Literal["list"]
    data: list[OpenAIEmbedding]
    model: str = Field(description="As it was asked for.")
    usage: OpenAIUsage


class OpenAIModel(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"]
    created: int = Field(description="When this server loaded it, in seconds since 1970.")
    owned_by: str


class OpenAIModelList(BaseModel):
    """Every bundle that is served, in the order of the settings."""

    object: Literal["list"]
    data: list[OpenAIModel]

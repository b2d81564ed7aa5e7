"""What a request to the language model may say and what its reply says."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from service.schemas import Request, StartEnd, Text, Token

DEFAULT_TOP, MAX_TOP = 10, 100


class ScoreRequest(Request):
    """Sentences whose probability is asked for."""

    model: str | None = Field(
        default=None, description="Name of a bundle; may be left out when one is served."
    )
    inputs: list[Text] = Field(
        min_length=1,
        fail_fast=True,
        description="Sentences: each a string, or a list of words when it is tokenised already.",
    )


class Direction(BaseModel):
    """How probable one direction finds a sentence. Natural logarithms, rounded to six decimals."""

    log_probabilities: list[float] = Field(
        description="One for each of `tokens`, in their order: forward, given all tokens before it; "
        "backward, given all tokens after it. White space that the model reads as a token of its own is not "
        "in `tokens`: it counts to the token after it, whose number is then that of both together (at the "
        "end of the text, to the last token)."
    )
    boundary: float = Field(
        description="Of the end of the sentence that the direction reads towards: forward, that the sentence "
        "ends after its last token; backward, that it begins before its first."
    )
    total: float = Field(
        description="Of the whole sentence: the sum of `log_probabilities` and `boundary`, as they stand "
        "here."
    )
    perplexity: float | None = Field(
        description="exp(-total / num_predictions); null when no float can hold it."
    )


class Score(BaseModel):
    """The reply for one input."""

    tokens: list[Token]
    num_predictions: int = Field(
        description="What each direction predicts: every token, white space included, and one boundary."
    )
    num_unknown: int = Field(
        description="Tokens that the vocabulary does not have. Each counts with the probability that some "
        "unknown token stands there, which is more than its own."
    )
    forward: Direction
    backward: Direction
    perplexity: float | None = Field(
        description="Of both directions together: exp(-(both totals) / (2 num_predictions))."
    )


class ScoreReply(BaseModel):
    """One score for each input, in the order of the inputs."""

    model: str
    scores: list[Score]


class ClozeRequest(Request):
    """A text with a blank, and what might fill it."""

    model: str | None = Field(
        default=None, description="Name of a bundle; may be left out when one is served."
    )
    text: str = Field(description="The text with its blank.")
    blank: StartEnd | None = Field(
        default=None,
        description="[start, end] of what is to be replaced, in Unicode code points; start = end puts the "
        "candidates between two characters. Default: the one run of two or more underscores.",
    )
    candidates: Annotated[list[str], Field(fail_fast=True, min_length=1)] | None = Field(
        default=None,
        description="What may stand in the blank, put there as it is; of any length, each once. Default: the "
        "`top` best pieces of the vocabulary are proposed.",
    )
    top: Annotated[int, Field(ge=1, le=MAX_TOP)] | None = Field(
        default=None,
        description=f"How many pieces to propose at most, {DEFAULT_TOP} by default. Not together with "
        "`candidates`.",
    )


class Candidate(BaseModel):
    """A filled-in text and how probable it is. Natural logarithms, rounded to six decimals."""

    text: str = Field(description="What stands in the blank.")
    log_probability: float = Field(
        description="Of the whole filled-in text: the mean of `forward` and `backward`. A longer candidate "
        "has more tokens to be predicted, and so, all else being equal, a lower one."
    )
    forward: float = Field(description="The filled-in text's `forward.total`, as /v1/score gives it.")
    backward: float = Field(description="Its `backward.total`.")
    share: float = Field(
        description="The softmax of `log_probability` over the candidates of this reply: all add up to 1. "
        "It compares these texts with each other and says nothing of what is not in the list."
    )
    num_unknown: int = Field(
        description="Tokens of the filled-in text that the vocabulary does not have. A candidate with more "
        "of them than another looks better than it is."
    )


class ClozeReply(BaseModel):
    """The candidates, the most probable text first; those that are equal stay in the order of the request,
    proposals in that of the vocabulary."""

    model: str
    blank: list[int] = Field(description="[start, end] of the blank in `text`, in Unicode code points.")
    candidates: list[Candidate]

"""POST /v1/score and /v1/cloze: what the language model under the vectors says of a text itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
from fastapi import APIRouter, Request, Response

from model.tokenizer import Tokenized
from service.body import read_json
from service.cloze import PLACEHOLDER, Context, Gap, check_candidates, find_gap, to_read
from service.engine.embedder import Embedder
from service.engine.registry import Registry
from service.errors import ENGINE_ERRORS, ErrorType, ServiceError, documented
from service.inputs import check_inputs
from service.language_model import Ranked, ranking, score_reply
from service.language_model_schemas import DEFAULT_TOP, ClozeReply, ClozeRequest, ScoreReply, ScoreRequest
from service.openapi import json_body
from service.proposals import Proposal, shortlist, shortlist_size
from service.replies.accept import JSON
from service.replies.size import tokens_bytes
from service.replies.written import written
from service.work import Work, attended

router = APIRouter(tags=["language model"])

ERRORS = documented(*ENGINE_ERRORS, ErrorType.no_softmax)

TOKEN_BYTES = 32
"""What a token of /v1/score has beside its text and span: two numbers."""

SCORE_EXAMPLE = {"inputs": ["She sat on the bank of the river.", ["강에서", "배를", "탔다"]]}
CLOZE_EXAMPLE = {"text": "얼굴에 ____ 가득해서", "candidates": ["화색이", "슬픔이", "정색이"]}


@router.post(
    "/v1/score",
    summary="How probable is a sentence?",
    response_model=None,
    responses={200: {"model": ScoreReply}, **ERRORS},
    openapi_extra=json_body(ScoreRequest, SCORE_EXAMPLE),
)
async def score(request: Request) -> Response:
    """Return each token's log-probability and each input's perplexity, forward and backward.

    Natural logarithms. Each direction predicts every token and one boundary: forward, that the sentence ends
    after its last token; backward, that it begins before its first. Tokens that the vocabulary does not have
    are all scored alike, as an unknown one; `num_unknown` counts them. A model that was imported without its
    softmax scores nothing: 409.
    """
    registry: Registry = request.app.state.registry
    work = Work.of(request)
    body = await read_json(request, ScoreRequest)
    embedder = registry.embedder(body.model)
    embedder.check_softmax("model")
    check_inputs(body.inputs, registry.settings.max_inputs, registry.settings.max_characters)

    def check(tokenized: Sequence[Tokenized]) -> None:
        work.held.reserve(tokens_bytes(tokenized, TOKEN_BYTES))

    scored = await attended(request, embedder.score(body.inputs, request=work, check=check))
    return await written(request, work, lambda: [score_reply(embedder.name, body.inputs, scored)], JSON)


@router.post(
    "/v1/cloze",
    summary="What fills a blank best?",
    response_model=None,
    responses={200: {"model": ClozeReply}, **ERRORS},
    openapi_extra=json_body(ClozeRequest, CLOZE_EXAMPLE),
)
async def cloze(request: Request) -> Response:
    """Rank candidates for a blank by the log-probability of the whole filled-in text, or propose some.

    Candidates may be of any length. Each adds tokens that must be predicted, so of two that fit as well the
    shorter one wins; compare like with like. Proposals are single pieces of the vocabulary, a word or a part
    of one, at most `top`. They come from a shortlist of what both directions expect at the blank, and then
    have the same numbers as if they had been candidates. All filled-in texts together must fit the server's
    queue: send the sentence, not its document. A model that was imported without its softmax fills no blank:
    409.
    """
    registry: Registry = request.app.state.registry
    work = Work.of(request)
    body = await read_json(request, ClozeRequest)
    embedder = registry.embedder(body.model)
    embedder.check_softmax("model")
    if body.candidates is not None and body.top is not None:
        message = "expected at most one of candidates and top, got both"
        raise ServiceError(ErrorType.invalid_request, message, "top")
    gap = find_gap(body.text, body.blank, registry.settings.max_characters)
    if body.candidates is not None:
        check_candidates(gap, body.candidates, registry.settings.max_inputs, registry.settings.max_characters)
        filling = _rank(registry, embedder, gap, body.candidates, work)
    else:
        filling = _propose(registry, embedder, gap, body.top or DEFAULT_TOP, work)
    try:
        ranked = await attended(request, filling)
    except ServiceError as error:
        raise _placed(error, "text" if body.candidates is None else "candidates") from None
    reply = {"model": embedder.name, "blank": [gap.start, gap.end], "candidates": ranked}
    return Response(orjson.dumps(reply), media_type="application/json")


def _placed(error: ServiceError, field: str) -> ServiceError:
    """Return the error with its place in the request: a filled-in text that the client did not write has none
    but the text."""
    where = error.where
    if error.type is ErrorType.too_many_tokens and where is None:
        where = field
    elif where is not None and where.startswith("text["):
        where = "text"
    return ServiceError(error.type, error.message, where, error.headers)


async def _rank(
    registry: Registry, embedder: Embedder, gap: Gap, candidates: Sequence[str], work: Work
) -> list[Ranked]:
    await _context(registry, embedder, gap, len(candidates), work)
    filled = await embedder.tokenize(
        [gap.filled(text) for text in candidates], request=work, where="candidates"
    )
    for i, (candidate, tokens) in enumerate(zip(candidates, filled, strict=True)):
        if not gap.shows(candidate, tokens):
            message = "expected text, got only characters that the tokenizer drops"
            raise ServiceError(ErrorType.invalid_request, message, f"candidates[{i}]")
    scores = await embedder.score_tokens(filled, request=work, where="candidates")
    return ranking(candidates, filled, scores)


async def _propose(registry: Registry, embedder: Embedder, gap: Gap, top: int, work: Work) -> list[Ranked]:
    context = await _context(registry, embedder, gap, shortlist_size(top), work)
    proposals = await _shortlist(registry, embedder, context, shortlist_size(top), work)
    tokenized = await embedder.tokenize(
        [gap.filled(each.text) for each in proposals], request=work, where="text"
    )
    pairs = zip(proposals, tokenized, strict=True)
    standing = [(each.text, tokens) for each, tokens in pairs if each.stands(gap, tokens)]
    texts, filled = [text for text, _ in standing], [tokens for _, tokens in standing]
    scores = await embedder.score_tokens(filled, request=work, where="text")
    return ranking(texts, filled, scores, top)


async def _context(registry: Registry, embedder: Embedder, gap: Gap, num_texts: int, work: Work) -> Context:
    """Return what stands around the blank. Raises ServiceError when so many such texts cannot be queued."""
    (tokens,) = await embedder.tokenize([gap.filled(PLACEHOLDER)], request=work, where="text")
    context = Context.of(gap, tokens)
    num_tokens, most = num_texts * context.num_tokens, registry.settings.queue_tokens
    if num_tokens > most:
        message = f"expected at most {most} tokens in all filled-in texts, got {num_tokens} around the blanks"
        raise ServiceError(ErrorType.too_many_tokens, message, "text")
    # Characters that the tokenizer drops make no tokens, but as many copies as there are texts.
    num_characters, most = num_texts * gap.num_around, registry.settings.max_filled_characters
    if num_characters > most:
        message = f"expected at most {most} characters around the blanks of all filled-in texts"
        raise ServiceError(ErrorType.input_too_long, f"{message}, got {num_characters}", "text")
    return context


async def _shortlist(
    registry: Registry, embedder: Embedder, context: Context, size: int, work: Work
) -> list[Proposal]:
    """Ask both directions what they expect at the blank, in all its contexts at once."""
    continuations = context.continuations()
    contexts = [(context.before, after) for _, after in continuations]
    if context.starts_word:
        contexts.append((context.spaced(), context.after))
    found = await asyncio.gather(
        *(
            embedder.blank_distribution(to_read(before), to_read(after), request=work)
            for before, after in contexts
        )
    )
    spaced_V = found[-1].forward if context.starts_word else None
    backward = [(joined, at.backward) for (joined, _), at in zip(continuations, found, strict=False)]
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(
        registry.workers, shortlist, embedder.vocabulary, found[0].forward, spaced_V, backward, size
    )

"""What can go wrong in a request: one table of types and statuses, for replies and the OpenAPI document.

Every error reply is `{"error": {"type", "message", "where"?}}`: `type` is for programs, `message` says what
was expected and what came, `where` is the place in the request, as in `inputs[2]`. On the paths of other APIs
it says the same in their words (error_formats.py). Nothing of a server's inside, and no stack trace, is ever
in it.
"""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.error_formats import NATIVE, ErrorFormat, Failure, format_of

logger = logging.getLogger("polyseme")

SHOWN_PATH = 200
"""Characters of a path that an error repeats; of a longer one it tells the length."""


class ErrorType(Enum):
    """The table: a type's name is its member's; the value is its status and what it means."""

    malformed_http = 400, "what came is no request in HTTP/1.1, or has a header with two meanings"
    malformed_body = 422, "the body is not JSON in UTF-8"
    invalid_request = 422, "a field is missing, unknown, of a wrong type or out of range; `where` names it"
    unknown_model = 422, "no bundle of this name is served"
    unknown_task = 422, "no task of this name has been learned for the model"
    wrong_model = 409, "the task was learned on another model than the one asked for"
    no_head = 409, "the task is a mix alone, which can be embedded with and predicts nothing"
    no_softmax = 409, "the model was imported without a softmax: it cannot say how likely a token is"
    fit_running = 409, "a fit of this name is running, in this process or in another"
    task_not_found = 404, "no task has the name in the path; one that is being learned is none yet"
    fit_not_found = 404, "no fit has the name in the path, or to be cancelled, none that runs"
    unauthorized = 401, "the server wants a key, and none that it knows came; `Authorization: Bearer KEY`"
    forbidden = 403, "the key is known, but may not do this"
    not_acceptable = 406, "`Accept` names no form in which the reply can be sent"
    body_timeout = 408, "the body did not arrive in time"
    unsupported_media_type = 415, "the body is not declared as plain application/json"
    url_too_long = 414, "the URL has more bytes than the server reads"
    headers_too_large = 431, "the URL and the headers have more bytes than the server reads"
    body_too_large = 413, "the body has more bytes than the server takes"
    too_many_inputs = 413, "the request has more inputs than the server takes"
    too_many_examples = 413, "the fit has more examples or labels than the server learns from"
    input_too_long = 413, "an input has more characters than the server takes; nothing is ever cut"
    too_many_tokens = 413, "the request has more tokens than the server's queue can ever hold"
    reply_too_large = 413, "the reply would have more bytes than the server sends at once"
    too_many_fits = 429, "as many tasks are being learned as the server learns at once; try again later"
    queue_full = 429, "too much text is waiting already; try again after `Retry-After` seconds"
    memory_full = 429, "vectors and replies hold too much memory; try again after `Retry-After` seconds"
    not_ready = 503, "the server is starting, stopping, or has lost its engine"
    store_unavailable = 503, "the store of tasks cannot be asked; requests that name no task are answered"
    deadline_exceeded = 504, "the work was not done within the time that the client or the server allows"
    engine_failed = 500, "the model gave no usable vectors for an input; the server goes on"
    internal_error = 500, "a mistake in the server; it goes on"
    not_found = 404, "there is no such path"
    method_not_allowed = 405, "the path does not take this method; `Allow` says which it takes"

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def meaning(self) -> str:
        return self.value[1]


ENGINE_ERRORS = (
    ErrorType.malformed_body,
    ErrorType.invalid_request,
    ErrorType.unknown_model,
    ErrorType.unsupported_media_type,
    ErrorType.body_too_large,
    ErrorType.too_many_inputs,
    ErrorType.input_too_long,
    ErrorType.too_many_tokens,
    ErrorType.reply_too_large,
    ErrorType.queue_full,
    ErrorType.memory_full,
    ErrorType.engine_failed,
    ErrorType.internal_error,
    ErrorType.not_ready,
    ErrorType.deadline_exceeded,
)
"""What any request may get that names a model and sends text through its engine."""


class ServiceError(Exception):
    """A request's failure, as its client will read it."""

    def __init__(
        self,
        type: ErrorType,
        message: str,
        where: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.where = where
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the reply, told in the words of the path that it will be sent on."""
        where = None if self.where is None else _encodable(self.where)
        failure = Failure(self.type.name, self.type.status, _encodable(self.message), where)
        return _ErrorResponse(failure, self.headers)


class _ErrorResponse(Response):
    """Written again when it is sent: only then is the path known, also to those who refuse before a route."""

    def __init__(self, failure: Failure, headers: dict[str, str]) -> None:
        content = orjson.dumps(NATIVE.body(failure))
        super().__init__(content, failure.status, headers, media_type="application/json")
        self._failure = failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["error_type"] = self._failure.type  # for the log and the metrics
        told = format_of(scope["path"])
        self.body = orjson.dumps(told.body(self._failure))
        self.headers["Content-Length"] = str(len(self.body))
        self.status_code = told.status(self._failure.type, self._failure.status)
        await super().__call__(scope, receive, send)


def _encodable(text: str) -> str:
    """Return the text with lone surrogates spelled out: a message may repeat what a client sent."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def documented(*types: ErrorType, told: ErrorFormat = NATIVE) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can fail in these ways, for the OpenAPI document.

    told: the format of the route's path.
    """
    by_status: dict[int, list[ErrorType]] = {}
    for type in types:
        by_status.setdefault(told.status(type.name, type.status), []).append(type)
    return {
        status: {
            "model": told.reply,
            "description": "\n\n".join(f"`{type.name}`: {type.meaning}." for type in group),
        }
        for status, group in sorted(by_status.items())
    }


def outline(error: BaseException) -> str:
    """Return an exception's class and the place that raised it, for the log.

    Its message is left out because it may hold a client's text, and so is the rest of the stack.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(error).__name__
    return f"{type(error).__name__} at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


def add_error_handlers(app: FastAPI) -> None:
    """Give every failure its reply: ours, the router's, and those that nobody foresaw."""

    async def on_service_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return error.response()

    async def on_http_exception(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _from_router(request, error).response()

    app.add_exception_handler(ServiceError, on_service_error)
    app.add_exception_handler(HTTPException, on_http_exception)


def _from_router(request: Request, error: HTTPException) -> ServiceError:
    path: str = request.scope["path"]
    asked = f"{request.method} {path if len(path) <= SHOWN_PATH else f'a path of {len(path)} characters'}"
    if error.status_code == ErrorType.method_not_allowed.status:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"expected the method {allowed.replace(', ', ' or ')}, got {asked}"
        return ServiceError(ErrorType.method_not_allowed, message, headers={"Allow": allowed})
    if error.status_code == ErrorType.not_found.status:
        return ServiceError(ErrorType.not_found, f"expected a path that /docs lists, got {asked}")
    return _unforeseen(error)


def _unforeseen(error: Exception) -> ServiceError:
    logger.error("internal error: %s", outline(error))
    return ServiceError(ErrorType.internal_error, "the server made a mistake; its log says where")


class Unforeseen:
    """ASGI middleware: what the layers below it refuse gets its reply, and what nobody foresaw becomes one
    line in the log and a reply without a stack trace.

    Starlette's own last handler raises the exception again, and the server would log its whole stack.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except ClientDisconnect:
            pass  # nobody is left to answer
        except ServiceError as error:
            if not started:
                await error.response()(scope, receive, send)
        except Exception as error:
            response = _unforeseen(error).response()
            if scope["type"] == "http" and not started:
                await response(scope, receive, send)

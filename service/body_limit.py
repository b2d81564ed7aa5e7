"""A request's body may be no larger, and take no longer to arrive, than the settings say."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ErrorType, ServiceError
from service.ndjson import MEDIA_TYPE
from service.tasks.paths import is_fit, is_task


class BodyLimit:
    """ASGI middleware: no more than `max_bytes` of a body are read, whatever its headers say, nor for longer
    than `timeout_s`. A task that is uploaded and examples that are streamed may have `max_task_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int, max_task_bytes: int, timeout_s: float) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.max_task_bytes = max_task_bytes
        self.timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        declared = Headers(scope=scope).get("content-length", "") if scope["type"] == "http" else ""
        most = self._most(scope)
        if declared.isdecimal() and int(declared[:19]) > most:  # more digits are more bytes still
            raise _too_large(most, f"{declared[:19]} bytes")
        num_bytes = 0
        is_complete = False
        until_s = asyncio.get_running_loop().time() + self.timeout_s

        async def bounded_receive() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:  # what follows is only that the client leaves
                return await receive()
            try:
                async with asyncio.timeout_at(until_s):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow(num_bytes) from None
            num_bytes += len(message.get("body", b""))
            if num_bytes > most:
                raise _too_large(most, "more")
            is_complete = not message.get("more_body", False)
            return message

        await self.app(scope, bounded_receive, send)

    def _most(self, scope: Scope) -> int:
        if scope["type"] != "http":
            return self.max_bytes
        media_type = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
        is_stream = scope["method"] == "POST" and media_type == MEDIA_TYPE and is_fit(scope["path"])
        is_upload = scope["method"] == "PUT" and is_task(scope["path"])
        return self.max_task_bytes if is_stream or is_upload else self.max_bytes

    def _too_slow(self, num_bytes: int) -> ServiceError:
        return ServiceError(
            ErrorType.body_timeout,
            f"expected the whole body within {self.timeout_s:g} s, got {num_bytes} bytes of it",
            headers={"Connection": "close"},  # the rest of it is no request
        )


def _too_large(most: int, came: str) -> ServiceError:
    return ServiceError(ErrorType.body_too_large, f"expected a body of at most {most} bytes, got {came}")

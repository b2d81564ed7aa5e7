"""A client's connection: uvicorn's, and what it leaves open: clients that send or take nothing, or no end of
headers.

uvicorn closes a connection that is idle after a reply. It waits for ever for the first request and for the
rest of a request's headers, however many they are, and it keeps a reply that nobody reads for as long as the
connection lasts. When a client offers to go on in another protocol, as Java's own does with HTTP/2, it loses
the request's body.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from service import malformed
from service.errors import ErrorType, ServiceError

PROGRESS_BYTES = 64 * 1024
"""What a reader must take within the time limit: less is a trickle that only holds memory."""

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's headers that are not complete, or of the trailers after its body. The parser keeps them all,
and copies a header that is not complete again with every part that comes."""

MAX_UNANSWERED = 16
"""Requests of one connection beside which it is still read; the next ones stay with the client."""

_UPGRADE = re.compile(rb"(?<=\r\n)upgrade(?=:)", re.IGNORECASE)


class ConnectionConfig(uvicorn.Config):
    """uvicorn's settings, how long a reader may stand still, and who counts what is no request."""

    def __init__(
        self, app: Any, *, write_timeout_s: float, on_unread: Callable[[ErrorType], None], **details: Any
    ) -> None:
        super().__init__(app, http=Connection, **details)
        self.write_timeout_s = write_timeout_s
        self.on_unread = on_unread


class Connection(HttpToolsProtocol):
    """One connection, with time limits in both directions."""

    config: ConnectionConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0  # that have come since the parser last told of something complete
        self._unanswered: deque[RequestResponseCycle] = deque()  # uvicorn tells only the last of a loss
        self.url = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            data = without_upgrade(data)
        # uvicorn would stop this timer at the first byte; it goes on until a request has begun.
        waiting, self.timeout_keep_alive_task = self.timeout_keep_alive_task, None
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        if waiting is None:
            return
        has_begun = self.cycle is not None and not self.cycle.response_complete
        if has_begun or self.timeout_keep_alive_task is not None:
            waiting.cancel()
        else:
            self.timeout_keep_alive_task = waiting

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        num_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if num_bytes > MAX_HEAD_BYTES:  # it has come at once
            raise malformed.too_long(MAX_HEAD_BYTES, len(self.url))
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        if len(self._unanswered) <= MAX_UNANSWERED:
            # uvicorn stops reading when a request comes before the last one's reply, and then does not see
            # that the client has gone.
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        super().on_message_complete()

    def _refuse_head(self) -> None:
        if self.transport.is_closing():  # it has been refused for another reason
            return
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(malformed.too_long(MAX_HEAD_BYTES, len(self.url)))
        else:  # a reply is on its way, which no other may interrupt
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read. uvicorn calls this while it handles what its parser has raised.

        Requests that were whole before it keep their replies; uvicorn would put this one into their midst.
        """
        cycle, error = self.cycle, malformed.explained(sys.exception())
        if cycle is None or (cycle.response_complete and not cycle.more_body):
            self._refuse(error)
        elif not cycle.more_body:
            cycle.keep_alive = False  # it ends after this reply, the last
            self.flow.pause_reading()
        elif not cycle.response_started:  # its own body is what cannot be read
            self._refuse(error)
        else:
            self.transport.close()

    def _refuse(self, error: ServiceError) -> None:
        self.config.on_unread(error.type)
        self.transport.write(malformed.reply(error, self.server_state.default_headers))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_watching()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():  # too little for uvicorn to wait for
            self._watch_reader()

    def _watch_reader(self) -> None:
        self._stop_watching()
        waiting_bytes = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(
            self.config.write_timeout_s, self._check_reader, waiting_bytes
        )

    def _check_reader(self, waiting_bytes: int) -> None:
        """waiting_bytes: of the reply, when the timer was set. While they wait none are added."""
        left_bytes = self.transport.get_write_buffer_size()
        if not left_bytes:
            self._stop_watching()
        elif waiting_bytes - left_bytes < PROGRESS_BYTES:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None


def without_upgrade(data: bytes) -> bytes:
    """Return the beginning of a request without its header Upgrade, an offer that a server may ignore.

    Its name becomes another one of the same length, which nobody reads. Source: RFC 9110, 7.8.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"x-grade", head) + end + body

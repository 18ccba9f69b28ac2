"""HTTP/1.1 as strictly as RFC 9112 lets a server be, and no connection that waits for ever.

Beyond what h11 refuses, a call is refused whose end another reader could see elsewhere: a bare line feed, a folded header, a
length beside chunks, a repeated header that decides. A connection that runs no call has a few seconds until the next one,
whatever it sends in between. So has one whose client does not read its answers; no further call of it begins. Of too many
connections, the client with the most loses its oldest.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol

_ONCE = frozenset(
    (
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"transfer-encoding",
    )
)
_LIST = re.compile(rb"content-length:.*,", re.IGNORECASE)
_LEAST_READ = 65_536  # bytes of an answer that a client takes in the time it has, or it is over
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Connections:
    """The connections of one server, oldest first, and those of them that wait: for a call, or for their client to read."""

    def __init__(self, seconds: float, *, most: int, most_waiting: int) -> None:
        self.seconds, self._most, self._most_waiting = seconds, most, most_waiting
        self._open: dict[StrictHttp, str] = {}
        self._waiting: dict[StrictHttp, str] = {}

    def open(self, connection: StrictHttp, client: str) -> None:
        """Note a new connection; beyond the limit, end one of the client that has most."""
        self._open[connection] = client
        if len(self._open) > self._most:
            busiest = _busiest(self._open)
            (_oldest(self._waiting, busiest) or _oldest(self._open, busiest) or connection).end()

    def wait(self, connection: StrictHttp) -> None:
        """Note that one waits; beyond the limit, end the oldest that waits of the client that has most."""
        self._waiting[connection] = self._open.get(connection, "")
        if len(self._waiting) > self._most_waiting:
            (_oldest(self._waiting, _busiest(self._waiting)) or connection).end()

    def go_on(self, connection: StrictHttp) -> None:
        """Note that one no longer waits."""
        self._waiting.pop(connection, None)

    def close(self, connection: StrictHttp) -> None:
        """Forget one."""
        self.go_on(connection)
        self._open.pop(connection, None)


def _busiest(connections: dict[StrictHttp, str]) -> str:
    return Counter(connections.values()).most_common(1)[0][0]


def _oldest(connections: dict[StrictHttp, str], client: str) -> StrictHttp | None:
    return next((connection for connection, of in connections.items() if of == client), None)


class StrictHttp(H11Protocol):
    """A connection to a client."""

    def __init__(self, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = connections
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes of answers that the client had not taken when the timer began
        self._is_held = False  # there may be a call that waits until the client has read the answers before it
        self.conn._receive_buffer = _StrictLines()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first call."""
        super().connection_made(transport)
        self._all.open(self, self.client[0] if self.client else "")
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._rest()
        self._all.close(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the wait is over once a call begins."""
        super().data_received(data)
        self._watch()

    def handle_events(self) -> None:
        """Begin the next call, unless the client has yet to read earlier answers: a call would wait for that as it answers."""
        self._is_held = self.flow.write_paused and not self._is_running()
        if self._is_held:
            self.flow.pause_reading()
        else:
            super().handle_events()

    def on_response_complete(self) -> None:
        """Begin to wait for the next call."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Begin the call that was held back."""
        super().resume_writing()
        if self._is_held and not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()
        self._watch()

    def end(self) -> None:
        """End a connection at once."""
        self._rest()
        self.transport.abort()

    def _is_running(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        if self._is_running() and not self.flow.write_paused and not self.transport.is_closing():
            self._rest()
        elif self._timer is None:
            self._begin_timer()
            self._all.wait(self)

    def _begin_timer(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._timer = self.loop.call_later(self._all.seconds, self._give_up)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._all.go_on(self)

    def _give_up(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread and unread <= self._unread - _LEAST_READ:  # a long answer on a slow line
            self._begin_timer()
        elif unread or self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            self.end()
        else:
            self.transport.write(_TOO_SLOW)
            self.transport.close()
            self._begin_timer()


class _StrictLines(ReceiveBuffer):
    """What was received, as lines that end in CR LF and hold neither of the two."""

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines of headers once they are whole; raise where readers could disagree about them."""
        before = bytes(self)
        lines = super().maybe_extract_lines()
        if lines is None:
            return None
        head = before[: len(before) - len(self)]
        _require(head.count(b"\r\n") == head.count(b"\n") == head.count(b"\r"), "a line feed or return by itself")
        _require(not any(line.startswith((b" ", b"\t")) for line in lines), "a folded header")
        _require(not any(_LIST.match(line) for line in lines), "a length that is a list")
        names = Counter(bytes(line.partition(b":")[0].lower()) for line in lines[1:])
        _require(not any(names[name] > 1 for name in _ONCE), "a header that decides is repeated")
        if names[b"transfer-encoding"]:
            _require(not names[b"content-length"], "a length beside chunks")
            _require(not lines[0].endswith(b"HTTP/1.0"), "chunks in HTTP/1.0")
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        """Return the line that begins a chunk."""
        line = super().maybe_extract_next_line()
        _require(line is None or line.count(b"\r") == line.count(b"\n") == 1, "a line feed or return by itself")
        return line


def _require(is_sound: bool, fault: str) -> None:
    if not is_sound:
        raise h11.LocalProtocolError(fault)

"""HTTP/1.1 as strictly as RFC 9112 lets a server be, and no connection that waits for ever.

Beyond what h11 refuses, a call is refused whose end another reader could see elsewhere: a bare line feed, a folded header, a
length beside chunks, a repeated header that decides. A connection has a few seconds for its headers; of too many that wait, the
client with the most loses its oldest.
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
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Waiting:
    """The connections of one server whose next call has not arrived, oldest first."""

    def __init__(self, seconds: float, most: int) -> None:
        self.seconds, self._most = seconds, most
        self._oldest: dict[StrictHttp, str] = {}

    def enter(self, connection: StrictHttp, client: str) -> None:
        """Note one; beyond the limit, end the oldest of the client that has most."""
        self._oldest[connection] = client
        if len(self._oldest) > self._most:
            ((busiest, _),) = Counter(self._oldest.values()).most_common(1)
            next(c for c, of in self._oldest.items() if of == busiest).end()

    def leave(self, connection: StrictHttp) -> None:
        """Forget one: its call is here, or it is over."""
        self._oldest.pop(connection, None)


class StrictHttp(H11Protocol):
    """A connection to a client."""

    def __init__(self, waiting: Waiting, **given: Any) -> None:
        super().__init__(**given)
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self.conn._receive_buffer = _StrictLines()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first call."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; the wait is over once the headers are whole."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Begin to wait for the next call."""
        super().on_response_complete()
        self._watch()

    def end(self) -> None:
        """End a connection that waits."""
        self._rest()
        self.transport.abort()

    def _watch(self) -> None:
        is_waiting = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not is_waiting:
            self._rest()
        elif self._timer is None:
            self._timer = self.loop.call_later(self._waiting.seconds, self._give_up)
            self._waiting.enter(self, self.client[0] if self.client else "")

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting.leave(self)

    def _give_up(self) -> None:
        self._rest()
        self.transport.write(_TOO_SLOW)
        self.transport.close()


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

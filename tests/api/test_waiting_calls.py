"""Connections that wait: each for a limited time, and never so many that others find no place."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import uvicorn

from workbench.api.serve import configured
from workbench.api.settings import Settings

CALL = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = CALL[:20]


async def nothing(scope: Any, _: Any, send: Any) -> None:
    """Answers 204 to every call."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@contextmanager
def serving(**settings: Any) -> Iterator[int]:
    """The port of a server in this process."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = configured(nothing, Settings(**settings))
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def heard(raw: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    content = b""
    with suppress(ConnectionResetError):
        while piece := raw.recv(65_536):
            content += piece
    return content


@pytest.mark.parametrize("sent", [b"", HALF, CALL + HALF], ids=["nothing", "a half", "a half after a whole"])
def test_headers_that_do_not_come_end_their_connection(sent: bytes) -> None:
    with serving(header_seconds=0.1) as port, connected(port) as raw:
        raw.sendall(sent)
        answers = heard(raw)
    assert answers.count(b"HTTP/1.1 204 ") == (1 if CALL in sent else 0)
    assert answers.endswith(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_too_many_that_wait_lose_the_oldest_and_a_whole_call_is_answered() -> None:
    with serving(header_seconds=3600.0, most_waiting=3) as port:
        waiting = [connected(port) for _ in range(5)]
        with connected(port) as raw:
            raw.sendall(CALL.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert heard(raw).startswith(b"HTTP/1.1 204 ")
        assert [heard(raw) for raw in waiting[:2]] == [b"", b""], "the oldest were ended"
        with waiting[-1] as last:
            last.sendall(CALL)
            assert last.recv(65_536).startswith(b"HTTP/1.1 204 "), "the newest still waits"
        for raw in waiting:
            raw.close()


def test_a_connection_that_is_used_again_and_again_is_not_ended() -> None:
    with serving(header_seconds=3600.0, most_waiting=2) as port, connected(port) as raw:
        for _ in range(20):
            raw.sendall(CALL)
            assert raw.recv(65_536).startswith(b"HTTP/1.1 204 ")

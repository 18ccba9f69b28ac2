"""Connections that wait: each for a limited time, and never so many that others find no place."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import uvicorn
from until import until

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
def running(app: Any, **settings: Any) -> Iterator[tuple[uvicorn.Server, int]]:
    """A server in this process, and its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = configured(app, Settings(**settings))
    config.lifespan = "off"
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def serving(app: Any = nothing, **settings: Any) -> Iterator[int]:
    """The port of a server in this process."""
    with running(app, **settings) as (_, port):
        yield port


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


REFUSED = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{"
LARGE = 16_000_000  # bytes: more than the buffers of two sockets hold


class Large:
    """Answers with more than a client's and a server's buffers hold; notes which calls began."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    async def __call__(self, scope: Any, _: Any, send: Any) -> None:
        self.begun.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b" " * (LARGE if scope["path"] == "/large" else 1)})


def test_a_call_that_was_answered_before_its_body_came_holds_its_connection_no_longer_than_any() -> None:
    with serving(header_seconds=0.1) as port, connected(port) as raw:
        raw.sendall(REFUSED)
        assert raw.recv(65_536).startswith(b"HTTP/1.1 204 ")
        with suppress(OSError):
            raw.sendall(b" ")
        assert heard(raw) == b""


def test_connections_whose_calls_were_answered_before_their_bodies_came_wait_like_others() -> None:
    with serving(header_seconds=3600.0, most_waiting=3) as port, ExitStack() as stack:
        waiting = []
        for _ in range(4):
            waiting.append(raw := stack.enter_context(connected(port)))
            raw.sendall(REFUSED)
            assert raw.recv(65_536).startswith(b"HTTP/1.1 204 ")
            raw.sendall(b" ")
        assert heard(waiting[0]) == b""
        waiting[-1].sendall(b" " * 59_998 + CALL)
        assert waiting[-1].recv(65_536).startswith(b"HTTP/1.1 204 "), "the newest goes on, once its body is here"


def test_no_call_begins_on_a_connection_whose_client_does_not_read() -> None:
    app, call = Large(), CALL.replace(b"/ ", b"/large ", 1)
    with serving(app, header_seconds=3600.0) as port, connected(port) as unread:
        unread.sendall(call + CALL)
        assert unread.recv(1) == b"H"
        with connected(port) as raw:
            raw.sendall(CALL)
            assert raw.recv(65_536).startswith(b"HTTP/1.1 200 ")
        assert app.begun == ["/large", "/"], "the second call of the first connection waits"
        heard = 1
        while heard < LARGE:
            heard += len(unread.recv(1 << 20))
        while app.begun != ["/large", "/", "/"]:
            assert unread.recv(65_536)


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"], ids=["kept alive", "closed"])
def test_a_client_that_does_not_read_is_hung_up_on(close: bytes) -> None:
    app = Large()
    with running(app, header_seconds=0.1) as (server, port), connected(port) as raw:
        raw.sendall(CALL.replace(b"/ ", b"/large ", 1).replace(b"\r\n\r\n", b"\r\n" + close + b"\r\n"))
        give_up = time.monotonic() + 60
        while not app.begun or server.server_state.connections:
            assert time.monotonic() < give_up
            time.sleep(0.01)


def test_of_too_many_connections_that_run_calls_the_oldest_is_ended() -> None:
    begun: list[Any] = []

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        begun.append(scope)
        while (await receive()).get("more_body"):
            pass
        await nothing(scope, receive, send)

    with serving(patient, header_seconds=3600.0, most_connections=3) as port, ExitStack() as stack:
        running: list[socket.socket] = []
        for _ in range(4):
            running.append(stack.enter_context(connected(port)))
            running[-1].sendall(REFUSED)
            until(lambda: len(begun) == len(running))
        assert heard(running[0]) == b""
        running[-1].sendall(b" " * 59_999)
        assert running[-1].recv(65_536).startswith(b"HTTP/1.1 204 ")


class Slow(asyncio.Transport):
    """A line whose buffer a test sets."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.left, self.is_ended = 0, False

    def get_write_buffer_size(self) -> int:
        return self.left

    def write(self, data: Any) -> None:
        self.left += len(data)

    def is_closing(self) -> bool:
        return self.is_ended

    def abort(self) -> None:
        self.is_ended = True

    def resume_reading(self) -> None:
        pass


class Timers(asyncio.SelectorEventLoop):
    """An event loop whose timers run when a test says so."""

    due: Callable[..., object]

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, **_: Any) -> asyncio.TimerHandle:
        if delay == Settings.header_seconds:
            self.due = callback
        return super().call_later(delay, callback, *args)


@pytest.mark.parametrize(("taken", "is_ended"), [(65_536, False), (65_535, True), (0, True)])
def test_a_client_that_reads_slowly_is_waited_for_as_long_as_it_reads(taken: int, is_ended: bool) -> None:
    loop, line = Timers(), Slow()
    config = configured(Large(), Settings())
    config.load()
    connection: Any = config.http_protocol_class(
        config=config, server_state=uvicorn.server.ServerState(), app_state={}, _loop=loop
    )
    connection.connection_made(line)
    connection.data_received(CALL.replace(b"/ ", b"/large ", 1))
    loop.run_until_complete(asyncio.wait(connection.tasks))
    assert line.left > LARGE
    for _ in range(3):
        line.left -= taken
        loop.due()
    assert line.is_ended is is_ended
    connection.connection_lost(ConnectionAbortedError())
    loop.close()

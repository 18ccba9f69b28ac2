"""Callbacks: every change of status is told, signed, again until it is taken, and nothing of it stays."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
from asking import client, erasure_of
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from workbench.erasure import callback, deliver
from workbench.erasure.callback_url import CallbackRules, checked
from workbench.erasure.request import advance, withdraw
from workbench.errors import BusyError
from workbench.scan import scan_folder
from workbench.state import writing
from workbench.state.tables import callbacks
from workbench.workflows.callbacks import tell_callbacks
from workbench.workflows.jobs import erase_waiting
from workbench.workspace import Workspace

INSIDE = CallbackRules(plain=True, private=True)
Handle = Callable[[BaseHTTPRequestHandler], None]


class Ear:
    """A server that hears callbacks and answers as it is told to."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self.location: str | None = None
        self.url = ""

    def told(self) -> list[str]:
        return [body["request_status"] for body in self.heard]


@contextmanager
def serving(handle: Handle) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            handle(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/told"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def ear() -> Iterator[Ear]:
    one = Ear()

    def hear(call: BaseHTTPRequestHandler) -> None:
        body = call.rfile.read(int(call.headers.get("Content-Length", 0)))
        one.bodies.append(body)
        one.heard.append(json.loads(body or b"{}"))
        one.headers.append(dict(call.headers))
        call.send_response(one.status)
        if one.location:
            call.send_header("Location", one.location)
        call.end_headers()

    with serving(hear) as one.url:
        yield one


def tell(workspace: Workspace, log: Any = None) -> int:
    return tell_callbacks(workspace, INSIDE, "here.example", **({"log": log} if log else {}))


def handed_in(workspace: Workspace, *urls: str, key: str = "pupil-1000") -> str:
    request = erasure_of(key, status_callback_urls=list(urls))
    with client(workspace, callbacks=INSIDE) as asking:
        answer = asking.post("/requests", json=request)
    assert answer.status_code == 201, answer.text
    return str(request["subject_request_id"])


def kept(workspace: Workspace) -> list[Any]:
    with workspace.engine.connect() as connection:
        return list(connection.execute(callbacks.select()))


def be_patient_no_longer(workspace: Workspace) -> None:
    with writing(workspace.engine) as connection:
        connection.execute(callbacks.update().values(next_try=0.0))


def test_each_change_is_told_once_and_signed_and_the_address_goes_with_the_last(trained: Workspace, ear: Ear) -> None:
    request = handed_in(trained, ear.url)
    assert tell(trained) == 0, "the receipt told what it is"
    with writing(trained.engine) as connection:
        advance(connection, [request], "executing")
    assert (tell(trained), tell(trained)) == (1, 0)
    with writing(trained.engine) as connection:
        advance(connection, [request], "verifying")
    assert tell(trained) == 0, "still in progress"
    with writing(trained.engine) as connection:
        advance(connection, [request], "quarantined")
    withdraw(trained, request, status="denied", reason="not the person they said they were")
    assert tell(trained) == 1
    assert ear.told() == ["in_progress", "denied"]
    assert ear.heard[1]["reason"] == "not the person they said they were"
    assert ear.heard[1]["status_callback_url"] == ear.url
    assert ear.heard[1]["controller_id"] == "crm"
    assert (tell(trained), kept(trained)) == (0, [])
    key = load_pem_public_key((trained.root / "keys" / "signing.pub.pem").read_bytes())
    for body, headers in zip(ear.bodies, ear.headers, strict=True):
        key.verify(base64.b64decode(headers["X-OpenDSR-Signature"]), body)  # type: ignore[union-attr, call-arg]
        assert headers["X-OpenDSR-Processor-Domain"] == "here.example"
        assert b"pupil-1000" not in body


def test_an_erasure_is_certified_though_an_address_names_somebody_else(trained: Workspace, ear: Ear) -> None:
    """A sender may write anybody into an address: it lies sealed, or the byte scan of their erasure would find it."""
    url = f"{ear.url}?of=pupil-1001"
    handed_in(trained, url, key="pupil-1000")
    handed_in(trained, ear.url, key="pupil-1001")
    assert not scan_folder(trained.root, [b"pupil-1001", b"pupil-1000", ear.url.encode()]).hits
    assert not erase_waiting(trained).failures
    while tell(trained):
        pass
    assert ear.told() == ["completed", "completed"]
    assert kept(trained) == []


def test_what_is_not_taken_is_told_again_later_and_later_until_it_is(trained: Workspace, ear: Ear) -> None:
    request, lines = handed_in(trained, ear.url), []
    withdraw(trained, request, status="denied", reason="x")
    ear.status, waits = 500, []
    for _ in range(4):
        before = time.time()
        assert tell(trained, lambda event, **told: lines.append((event, told))) == 1
        assert tell(trained) == 0, "not before its time"
        waits.append(kept(trained)[0].next_try - before)
        be_patient_no_longer(trained)
    assert all(later > 1.8 * sooner for sooner, later in pairwise(waits)), waits
    assert [(event, told["attempt"]) for event, told in lines] == [("callback failed", n) for n in (1, 2, 3, 4)]
    assert ear.url not in json.dumps(lines)
    ear.status = 204
    assert (tell(trained), tell(trained), kept(trained)) == (1, 0, [])
    assert ear.told() == ["denied"] * 5


def test_an_address_that_never_answers_is_given_up(
    trained: Workspace, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callback, "MAX_ATTEMPTS", 2)
    request = handed_in(trained, ear.url)
    withdraw(trained, request, status="denied", reason="x")
    ear.status = 503
    assert tell(trained) == 1
    be_patient_no_longer(trained)
    assert tell(trained) == 1
    assert kept(trained) == []


def test_a_teller_that_was_killed_is_followed_by_the_next(
    trained: Workspace, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = handed_in(trained, ear.url)
    withdraw(trained, request, status="denied", reason="x")
    with writing(trained.engine) as connection:
        assert len(callback.claim(connection, trained.key("api"), 8)) == 1  # and then it was killed
    assert tell(trained) == 0, "somebody seems to be at it"
    started = time.time()
    monkeypatch.setattr(callback.time, "time", lambda: started + callback._LEASE + 1)
    assert tell(trained) == 1
    assert ear.told() == ["denied"]


def test_a_clock_that_was_set_back_puts_nothing_off_for_long(trained: Workspace, ear: Ear) -> None:
    request = handed_in(trained, ear.url)
    withdraw(trained, request, status="denied", reason="x")
    with writing(trained.engine) as connection:
        connection.execute(callbacks.update().values(next_try=time.time() + 365 * 86400))
    assert tell(trained) == 1


def test_no_redirect_is_followed(trained: Workspace, ear: Ear) -> None:
    request = handed_in(trained, ear.url)
    withdraw(trained, request, status="denied", reason="x")
    ear.status, ear.location = 307, ear.url + "-elsewhere"
    assert tell(trained) == 1
    assert len(ear.heard) == 1
    assert len(kept(trained)) == 1, "a redirect is no success"


def test_what_was_allowed_when_it_was_given_is_checked_again_when_it_is_called(trained: Workspace, ear: Ear) -> None:
    request = handed_in(trained, ear.url)
    withdraw(trained, request, status="denied", reason="x")
    assert tell_callbacks(trained, CallbackRules(), "x") == 1
    assert ear.heard == []


def test_an_answer_that_drips_or_never_ends_is_cut_off() -> None:
    def drip(call: BaseHTTPRequestHandler) -> None:
        call.wfile.write(b"HTTP/1.0 200 OK\r\nX-Drip: ")
        for _ in range(200):  # within one line, so that no limit of the client's library ends it
            call.wfile.write(b"x")
            call.wfile.flush()
            time.sleep(0.05)

    def flood(call: BaseHTTPRequestHandler) -> None:
        call.send_response(200)
        call.end_headers()
        for _ in range(100_000):
            call.wfile.write(bytes(65_536))

    for handle in (drip, flood):

        def guarded(call: BaseHTTPRequestHandler, handle: Handle = handle) -> None:
            with suppress(OSError):  # the other end hung up
                handle(call)

        with serving(guarded) as url:
            started = time.monotonic()
            with suppress(BusyError):
                deliver.deliver(checked(url, INSIDE), b"{}", {}, rules=INSIDE, seconds=0.5)
            assert time.monotonic() - started < 5

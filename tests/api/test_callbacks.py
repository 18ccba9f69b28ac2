"""Callbacks: every change of status is told, signed, again until it is taken, and nothing of it stays."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from asking import client, erasure_of
from conftest import Answer
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from workbench.bytescan.folders import scan_folder
from workbench.erasure import callback, deliver
from workbench.erasure.callback_url import CallbackRules, checked
from workbench.erasure.request import advance, withdraw
from workbench.errors import BusyError, ForbiddenError
from workbench.state import journal, writing
from workbench.state.roles import Person, acting
from workbench.state.tables import callbacks, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers import callbacks as module
from workbench.workflows.controllers.callbacks import note_rules, tell_callbacks, tell_due
from workbench.workflows.controllers.tokens import KEY, create_token
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.restore import restore
from workbench.workflows.operations.retention import retention

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


def words(workspace: Workspace, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), *map(str, arguments)]


def test_whoever_carries_requests_out_tells_them_by_the_rules_of_the_last_server(
    trained: Workspace, ear: Ear, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    first, second = handed_in(trained, ear.url, key="pupil-1000"), handed_in(trained, ear.url, key="pupil-1001")
    assert command("--workspace", trained.root, "requests", "deny", first, "--reason", "x", "--json").code == 0
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    assert command("--workspace", trained.root, "worker", "--inbox", inbox, "--once", "--json").code == 0
    assert ear.heard == [], "without a word of a server nobody is called"
    assert [row.attempts for row in kept(trained)] == [0, 0]
    note_rules(trained, INSIDE, "here.example")
    resumed = command("--workspace", trained.root, "resume", "--json")
    assert resumed.code == 0
    assert resumed.err.count('"event": "callback"') == 2
    assert ear.url not in resumed.err
    assert {(one["subject_request_id"], one["request_status"]) for one in ear.heard} == {
        (first, "denied"),
        (second, "completed"),
    }
    assert {one["X-OpenDSR-Processor-Domain"] for one in ear.headers} == {"here.example"}
    assert kept(trained) == []
    third = handed_in(trained, ear.url, key="pupil-1002")
    worker = command("--workspace", trained.root, "worker", "--inbox", inbox, "--once", "--json")
    assert worker.code == 0
    told = [one["request_status"] for one in ear.heard if one["subject_request_id"] == third]
    assert told[-1] == "completed"
    assert len(told) == len(set(told))
    assert ear.url not in worker.err + worker.out


def test_rules_are_noted_when_they_change_and_not_at_every_start(trained: Workspace) -> None:
    for rules, domain in [(INSIDE, "a"), (INSIDE, "a"), (CallbackRules(), "a"), (CallbackRules(), "b")]:
        note_rules(trained, rules, domain)
    with trained.engine.connect() as connection:
        noted = [(body["private"], body["domain"]) for _, body in journal.entries(connection, "CALLBACK_RULES")]
    assert noted == [(True, "a"), (False, "a"), (False, "b")]


def test_a_restored_copy_tells_nobody_until_a_server_is_started_over_it(
    trained: Workspace, ear: Ear, tmp_path: Path
) -> None:
    request = handed_in(trained, ear.url)
    note_rules(trained, INSIDE, "here.example")
    backup(trained, tmp_path / "backup.tar.gz")
    restore(tmp_path / "copy", tmp_path / "backup.tar.gz", without=True)
    copy = Workspace.open(tmp_path / "copy")
    assert not erase_waiting(copy).failures
    assert (tell_due(copy), ear.heard) == (0, [])
    note_rules(copy, INSIDE, "here.example")
    assert tell_due(copy) == 1
    assert [(one["subject_request_id"], one["request_status"]) for one in ear.heard] == [(request, "completed")]


def test_only_an_administrator_says_how_callbacks_are_told(workspace: Workspace) -> None:
    with acting(Person(actor="oidc:1", role="operator")), pytest.raises(ForbiddenError):
        note_rules(workspace, INSIDE, "here.example")


def test_what_cannot_be_opened_any_more_is_given_up_and_holds_up_nothing(trained: Workspace, ear: Ear) -> None:
    old = handed_in(trained, ear.url)
    (trained.root / "keys" / "api.key").unlink()
    create_token(trained, "crm", ["predict"])
    new = handed_in(trained, ear.url, key="pupil-1001")
    for request in (old, new):
        withdraw(trained, request, status="denied", reason="x")
    assert tell(trained) == 1
    assert [one["subject_request_id"] for one in ear.heard] == [new]
    with trained.engine.connect() as connection:
        lost = [body for _, body in journal.entries(connection, "CALLBACK_LOST")]
    assert lost == [{"request": old, "status": "denied"}]
    assert (kept(trained), tell(trained)) == ([], 0)


def test_trying_goes_on_for_about_two_days(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    handed_in(trained, "https://there.example/told")
    monkeypatch.setattr(callback.time, "time", lambda: 0.0)
    waits, given_up = [], False
    while not given_up:
        with writing(trained.engine) as connection:
            connection.execute(requests.update().values(status="denied"))
            connection.execute(callbacks.update().values(next_try=0.0))
            [taken] = callback.claim(connection, trained.key(KEY), 8)
            given_up = callback.failed(connection, taken)
        waits += [row.next_try for row in kept(trained)]
    assert 1.8 < sum(waits) / 86_400 < 2.2
    assert f"{len(waits) + 1} tries, about two days" in {kind.until for kind in retention(trained)}


@pytest.mark.slow
def test_processes_that_tell_at_the_same_time_tell_nobody_twice(trained: Workspace, ear: Ear, tmp_path: Path) -> None:
    note_rules(trained, INSIDE, "here.example")
    asked = {handed_in(trained, ear.url, key=f"pupil-{1000 + n}") for n in range(20)}
    for request in asked:
        withdraw(trained, request, status="denied", reason="x")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    commands = [("resume",), ("worker", "--inbox", inbox, "--once")]
    quiet = subprocess.DEVNULL
    processes = [subprocess.Popen(words(trained, *each), stdout=quiet, stderr=quiet) for each in commands]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(one["subject_request_id"] for one in ear.heard) == sorted(asked)
    assert kept(trained) == []


def test_what_changed_between_claim_and_telling_is_told_once(
    trained: Workspace, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = handed_in(trained, ear.url)
    with writing(trained.engine) as connection:
        advance(connection, [request], "executing")
    claim = module.claim

    def late(*arguments: Any) -> Any:
        taken = claim(*arguments)
        advance(arguments[0], [request], "quarantined")
        withdrawn = {"status": "denied", "reason": "x"}
        arguments[0].execute(requests.update().where(requests.c.id == request).values(**withdrawn))
        return taken

    monkeypatch.setattr(module, "claim", late)
    assert tell(trained) == 1
    monkeypatch.undo()
    assert (tell(trained), ear.told(), kept(trained)) == (0, ["denied"], [])

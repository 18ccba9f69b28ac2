"""The server as a process: started, killed, started again; nothing that was accepted is lost or doubled."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asking import bearer, erasure_of, log_of
from conftest import Answer
from served import api_server
from test_callbacks import Ear, ear  # noqa: F401 (a fixture)
from until import until

from workbench.api import serve
from workbench.erasure.request import withdraw
from workbench.errors import InputError
from workbench.state import journal
from workbench.state.tables import quarantine, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.callbacks import RULES
from workbench.workflows.operations.audit_log import read_history


def ask(port: int, method: str, path: str, headers: dict[str, str], body: Any = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, path, content, headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_server_that_is_killed_again_and_again_loses_and_doubles_nothing(trained: Workspace) -> None:
    header, todo = bearer(trained), [(erasure_of(f"pupil-{n}"), str(uuid.uuid4())) for n in range(1000, 1036)]
    answered: dict[str, bytes] = {}

    def hand_in(port: int, part: list[tuple[dict[str, Any], str]]) -> None:
        for request, key in part:
            with suppress(OSError, http.client.HTTPException):  # killed: it is sent again to the next
                status, body = ask(port, "POST", "/requests", header | {"Idempotency-Key": key}, request)
                assert status == 201, body
                answered[request["subject_request_id"]] = body

    for kill in (True, True, False):
        left = [(request, key) for request, key in todo if request["subject_request_id"] not in answered]
        with api_server(trained) as (process, port):
            threads = [threading.Thread(target=hand_in, args=(port, left[k::3])) for k in range(3)]
            for thread in threads:
                thread.start()
            enough = len(answered) + 8
            while kill and len(answered) < enough:
                time.sleep(0.001)
            if kill:
                process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
            if not kill:
                repeated = ask(port, "POST", "/requests", header | {"Idempotency-Key": todo[0][1]}, todo[0][0])
                assert repeated == (201, answered[todo[0][0]["subject_request_id"]])
    assert len(answered) == len(todo)
    with trained.engine.connect() as connection:
        received = Counter(body["request"] for _, body in journal.entries(connection, "RECEIVED"))
        rows = {row.id: row for row in connection.execute(requests.select())}
        held = {row.request for row in connection.execute(quarantine.select())}
        assert journal.broken_at(connection) is None
    assert received == Counter(answered.keys())
    assert held == rows.keys() == answered.keys()
    for number, body in answered.items():
        told = json.loads(body)["extensions"]["erasure-workbench"]
        assert told["commitment"] == rows[number].commitment
        assert told["nonce"], "also where the answer to the first try was lost"


def test_callbacks_are_told_by_the_next_server_and_it_ends_when_it_is_asked_to(
    trained: Workspace,
    ear: Ear,  # noqa: F811
) -> None:
    header, options = bearer(trained), ("--plain-callbacks", "--private-callbacks", "--domain", "here.example")
    request = erasure_of("pupil-1000", status_callback_urls=[ear.url])
    with api_server(trained, *options) as (process, port):
        assert ask(port, "POST", "/requests", header, request)[0] == 201
        process.send_signal(signal.SIGKILL)
        process.wait()
    withdraw(trained, request["subject_request_id"], status="denied", reason="x")
    with api_server(trained, *options) as (process, port):
        until(lambda: ear.heard, process)
        assert ear.told() == ["denied"]
        assert ear.headers[0]["X-OpenDSR-Processor-Domain"] == "here.example"
        process.terminate()
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")
    events = [json.loads(line)["event"] for line in log_of(trained).read_text().splitlines()]
    assert events[-1] == "stopped"
    assert "callback" in events


def test_what_is_no_http_is_answered_and_not_logged(trained: Workspace) -> None:
    import socket

    with api_server(trained) as (process, port):
        for content in (b"pupil-1000\r\n\r\n", b"GET /" + b"pupil-1000" * 20_000, b"\x16\x03\x01pupil-1000", b""):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as raw, suppress(OSError):
                raw.sendall(content)
                raw.shutdown(socket.SHUT_WR)
                assert b"pupil" not in raw.recv(65_536)
        assert ask(port, "GET", "/healthz", {})[0] == 200
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert "pupil" not in out + err
    assert "pupil-1000" not in log_of(trained).read_text()


@pytest.mark.parametrize("domain", ["here.example:8421", "https://here.example", "here.example/x", "::1", ""])
def test_a_domain_that_no_call_could_name_is_refused(
    command: Callable[..., Answer], workspace: Workspace, domain: str
) -> None:
    answer = command("--workspace", workspace.root, "api", "--domain", domain, "--port", 0, "--json")
    assert (answer.code, answer.error["code"]) == (2, "bad_input")
    assert "--domain" in answer.error["message"]


def test_authorities_are_noted_by_their_whole_path_and_nobody_is_shown_it(
    command: Callable[..., Answer], workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise InputError("far enough")

    monkeypatch.setattr(serve, "make_app", stop)
    monkeypatch.chdir(tmp_path)
    words = ("--workspace", workspace.root, "api", "--port", 0, "--callback-authorities", "own.pem", "--json")
    assert "is not there" in command(*words).error["message"]
    (tmp_path / "own.pem").write_text("x")
    assert command(*words).error["message"] == "far enough"
    with workspace.engine.connect() as connection:
        noted = [body["authorities"] for _, body in journal.entries(connection, RULES)]
    assert noted == [str(tmp_path / "own.pem")]
    shown = read_history(workspace)
    assert [entry.body["authorities"] for entry in shown.entries if entry.kind == RULES] == [True]
    assert "own.pem" not in json.dumps(shown.to_json())


def test_other_machines_are_let_in_only_where_that_is_said(
    command: Callable[..., Answer], trained: Workspace, tmp_path: Path
) -> None:
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org", ""):
        answer = command("--workspace", trained.root, "api", "--host", host, "--port", 0, "--json")
        assert (answer.code, answer.error["code"]) == (2, "bad_input"), host
        assert "--remote" in answer.error["hint"]
    nowhere = command("--workspace", tmp_path / "none", "api", "--json")
    assert (nowhere.code, nowhere.error["code"]) == (4, "not_found")


@pytest.mark.parametrize("option", [("--per-token", "often"), ("--port", "70000")])
def test_options_that_mean_nothing_are_refused(
    command: Callable[..., Answer], trained: Workspace, option: tuple[str, str]
) -> None:
    assert command("--workspace", trained.root, "api", *option, "--json").code == 2

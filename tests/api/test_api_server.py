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

from workbench import journal
from workbench.erasure.request import withdraw
from workbench.state.tables import quarantine, requests
from workbench.workspace import Workspace


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
    header, todo = bearer(trained), [(erasure_of(f"pupil-{n}"), str(uuid.uuid4())) for n in range(1000, 1060)]
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
            enough = len(answered) + 12
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
        deadline = time.monotonic() + 60
        while not ear.heard and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ear.told() == ["denied"]
        assert ear.headers[0]["X-OpenDSR-Processor-Domain"] == "here.example"
        process.terminate()
        out, err = process.communicate(timeout=60)
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

"""The worker: files in, receipts and results out, and nothing lost or doubled wherever it is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import forked
import pytest
from conftest import Answer
from killing import Killed, killer
from sqlalchemy import select
from stored import placed
from test_queue import POLICY
from until import until

from workbench.bytescan.folders import scan_folder
from workbench.erasure.request import advance, commit_to, submit_person
from workbench.errors import BusyError, CheckFailedError, InputError
from workbench.state import writing
from workbench.state.tables import quarantine, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers import inbox_worker as module
from workbench.workflows.controllers.inbox_worker import work
from workbench.workflows.controllers.results import WorkerResult
from workbench.workflows.erasure.decide import approve_request, deny_request, list_requests, set_policy
from workbench.workflows.erasure.execute import Outcome
from workbench.workflows.erasure.results import ErasedRequest
from workbench.workflows.erasure.verify import verify

Command = Callable[..., Answer]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Carrying out is replaced by its outcome: this file is about the intake."""

    def carry_out(workspace: Workspace) -> Outcome:
        with writing(workspace.engine) as connection:
            rows = connection.execute(requests.select().where(requests.c.status == "quarantined")).all()
            ids = [row.id for row in rows if row.approval != "waiting"]
            advance(connection, ids, "completed")
            for request in ids:
                connection.execute(quarantine.delete().where(quarantine.c.request == request))
                values = {"certificate": f"certificates/{request}.json"}
                connection.execute(requests.update().where(requests.c.id == request).values(**values))
        kept = {"shards": (), "ensembles": (), "retrain_seconds": 0.0, "predicted_seconds": 0.0}
        done = {i: ErasedRequest(request=i, certificate=f"certificates/{i}.json", **kept) for i in ids}
        return Outcome(done=done, failures=())

    monkeypatch.setattr(module, "erase_waiting", carry_out)


def run(workspace: Workspace, inbox: Path) -> WorkerResult:
    return work(workspace, inbox, stop=threading.Event(), once=True)


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def left(inbox: Path) -> set[str]:
    return {path.name for path in inbox.iterdir()} - {".lock"}


def test_a_file_is_carried_out_and_told_and_nothing_of_it_is_left(
    command: Command, trained: Workspace, inbox: Path
) -> None:
    first, second = placed(trained, "train")[:2]
    (inbox / "a.csv").write_text(f"key,request_id\n{first},t-1\n{second},\n{first},\nnobody-at-all,\n\x00,\n")
    (inbox / "poison.json").write_text(f"{{{second}")
    (inbox / "later.csv.part").write_text("key\n")
    answer = command("--workspace", trained.root, "worker", "--inbox", inbox, "--once", "--json")
    assert answer.code == 4
    assert {k: answer.json[k] for k in ("files", "requests", "poison")} == {"files": 2, "requests": 5, "poison": 1}
    assert left(inbox) == {"a.csv.receipt.json", "a.csv.result.json", "later.csv.part", "rejected"}

    receipt, result = read(inbox / "a.csv.receipt.json"), read(inbox / "a.csv.result.json")
    assert [r["status"] for r in receipt["requests"]] == ["quarantined"] * 2 + ["rejected"] * 3
    assert [r["line"] for r in receipt["requests"]] == [2, 3, 4, 5, 6]
    for entry, key in zip(receipt["requests"][:2], (first, second), strict=True):
        assert commit_to(bytes.fromhex(entry["nonce"]), [key]) == entry["commitment"]
        assert hashlib.sha256(bytes.fromhex(entry["nonce"]) + key.encode()).hexdigest() == entry["commitment"]
    assert receipt["requests"][0]["request"] == "t-1"
    assert [r["status"] for r in result["requests"]] == ["completed"] * 2 + ["rejected"] * 3
    certificate = result["requests"][0]["certificate"]
    assert verify(trained, Path(certificate), replay=True).valid
    assert (result["requests"][2]["duplicate_of"], result["requests"][2]["certificate"]) == ("t-1", certificate)

    assert sorted(p.name for p in (inbox / "rejected").iterdir()) == ["poison.json", "poison.json.reason.txt"]
    kept = [p for p in inbox.rglob("*") if p.is_file() and p.name != "poison.json"]
    told = b"".join(path.read_bytes() for path in kept) + answer.err.encode()
    assert first.encode() not in told
    assert second.encode() not in told
    assert not scan_folder(trained.root, [first.encode(), second.encode()]).hits
    events = [json.loads(line)["event"] for line in answer.err.splitlines()]
    assert events == ["accepted", "poison", "completed", "completed", "measured", "finished"]
    nonce = receipt["requests"][0]["nonce"]
    assert nonce not in answer.err
    assert not scan_folder(trained.root, [nonce.encode(), bytes.fromhex(nonce)]).hits

    (inbox / "a.csv").write_text(f"key,request_id\n{first},t-1\n")
    assert run(trained, inbox).exit == 2
    again = read(inbox / "a.csv.2.receipt.json")["requests"][0]
    assert (again["status"], again["request"], again["known_before"]) == ("rejected", None, True)
    assert read(inbox / "a.csv.receipt.json") == receipt, "an earlier receipt, with its nonces, stays"


OPERATIONS = (
    "write_atomic",
    "remove",
    "sync",
    "submit_person",
    "erase_waiting",
    "_take",
    "_reject",
    "_tell",
)


@contextmanager
def killing(monkeypatch: pytest.MonkeyPatch, at: int, *, late: bool) -> Iterator[None]:
    """Kills the worker at its `at`-th operation, before or after it is done."""
    wrapped = killer(at, late=late)
    with monkeypatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(module, name, wrapped(getattr(module, name)))
        patch.setattr(Path, "rename", wrapped(Path.rename))
        yield


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.usefixtures("idle")
def test_killed_anywhere_the_next_worker_loses_and_doubles_nothing(
    trained: Workspace, inbox: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    fresh = iter(placed(trained, "train") + placed(trained, "holdout"))
    for at in count(1):
        before = {r.request for r in list_requests(trained).requests}
        keys, given = [next(fresh), next(fresh)], f"ticket-{at}"
        (inbox / "a.jsonl").write_text(
            f"{json.dumps({'key': keys[0], 'request_id': given})}\n{json.dumps({'key': keys[1]})}\n{{}}\n"
        )
        (inbox / "b.txt").write_bytes(b"\xff")
        killed = False
        with killing(monkeypatch, at, late=late):
            try:
                run(trained, inbox)
            except Killed:
                killed = True
        if killed:
            run(trained, inbox)
        assert left(inbox) == {"a.jsonl.receipt.json", "a.jsonl.result.json", "rejected"}, at
        receipt, result = read(inbox / "a.jsonl.receipt.json"), read(inbox / "a.jsonl.result.json")
        ids = [r["request"] for r in receipt["requests"]]
        new = {r.request for r in list_requests(trained).requests} - before
        assert new == {given, ids[1]}, at
        assert ids == [given, ids[1], None]
        for entry, key in zip(receipt["requests"], keys, strict=False):
            assert commit_to(bytes.fromhex(entry["nonce"]), [key]) == entry["commitment"], "the nonce came through"
            assert entry["known_before"] is False
        assert [r["status"] for r in result["requests"]] == ["completed", "completed", "rejected"]
        assert {p.name for p in (inbox / "rejected").iterdir()} == {"b.txt", "b.txt.reason.txt"}
        for path in [*inbox.glob("a.*"), *(inbox / "rejected").iterdir()]:
            path.unlink()
        if not killed:
            break
    assert at > 20, "the sweep met every operation"


def test_several_identities_of_a_person_are_one_request_and_one_certificate(trained: Workspace, inbox: Path) -> None:
    first, second = placed(trained, "train")[0], placed(trained, "holdout")[0]
    values = [("pupil-number", first), ("pupil-number", second), ("email", "a@example.org")]
    request = {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "subject_identities": [
            {"identity_type": kind, "identity_value": value, "identity_format": "raw"} for kind, value in values
        ],
        "submitted_time": "2026-01-31T12:00:00Z",
        "api_version": "2.0",
    }
    stranger = request | {
        "subject_request_id": str(uuid.uuid4()),
        "subject_identities": request["subject_identities"][2:],  # type: ignore[index]
    }
    (inbox / "a.json").write_text(json.dumps([request, stranger]))
    assert run(trained, inbox).exit == 4
    receipt = read(inbox / "a.json.receipt.json")["requests"]
    result = read(inbox / "a.json.result.json")["requests"]
    assert [r["request"] for r in receipt] == [request["subject_request_id"], None]
    assert receipt[0]["commitment"] == commit_to(bytes.fromhex(receipt[0]["nonce"]), [second, first])
    assert [r["status"] for r in result] == ["completed", "rejected"]
    assert len(list((trained.root / "certificates").glob("*.json"))) == 1
    assert verify(trained, Path(result[0]["certificate"]), replay=True).valid
    assert {first, second}.isdisjoint(placed(trained, "train") + placed(trained, "holdout"))


@pytest.mark.usefixtures("idle")
def test_a_request_is_a_duplicate_only_where_an_open_one_covers_the_whole_person(trained: Workspace) -> None:
    first, second = (("pupils", key) for key in placed(trained, "train")[:2])
    one = submit_person(trained, [first])
    both = submit_person(trained, [first, second])
    assert (both.status, both.duplicate_of) == ("quarantined", None), "the other identity would never be erased"
    assert submit_person(trained, [second]).duplicate_of == both.id
    assert submit_person(trained, [second, first]).duplicate_of == both.id
    assert submit_person(trained, [first]).duplicate_of in (one.id, both.id)


@pytest.mark.usefixtures("idle")
def test_the_senders_of_two_files_learn_nothing_of_each_other(trained: Workspace, inbox: Path) -> None:
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    key = placed(trained, "train")[0]
    (inbox / "a.csv").write_text(f"key,request_id\n{key},alpha-1\n")
    (inbox / "b.csv").write_text(f"key,request_id\n{key},beta-1\n{key},beta-2\n")
    assert run(trained, inbox).exit == 7
    first, second = (read(inbox / f"{name}.csv.receipt.json")["requests"] for name in "ab")
    assert [one["status"] for one in (*first, *second)] == ["quarantined", "quarantined", "rejected"]
    assert second[1]["duplicate_of"] == "beta-1", "within a file it is a repetition"
    assert "alpha-1" not in (inbox / "b.csv.receipt.json").read_text() + (inbox / "b.csv.result.json").read_text()
    assert first[0]["nonce"] != second[0]["nonce"]
    deny_request(trained, "alpha-1", "they withdrew it by letter")
    with trained.engine.connect() as connection:
        assert list(connection.execute(select(quarantine.c.request)).scalars()) == ["beta-1"]
    approve_request(trained, "beta-1")
    assert run(trained, inbox).exit == 2, "that of the denied one"
    result = read(inbox / "b.csv.result.json")["requests"]
    assert [one["certificate"] is not None for one in result] == [True, True]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("same", [False, True])
def test_an_id_that_another_file_used_is_refused_and_shows_nothing_of_it(
    trained: Workspace, inbox: Path, same: bool
) -> None:
    """Also for the same person: who sent another file may be another party."""
    first, second = placed(trained, "train")[:2]
    (inbox / "alpha.csv").write_text(f"key,request_id\n{first},case-1\n")
    assert run(trained, inbox).exit == 0
    alpha = read(inbox / "alpha.csv.receipt.json")["requests"][0]
    certificate = read(inbox / "alpha.csv.result.json")["requests"][0]["certificate"]
    (inbox / "beta.csv").write_text(f"key,request_id\n{first if same else second},case-1\n{second},case-2\n")
    assert run(trained, inbox).exit == 2
    receipt, result = (read(inbox / f"beta.csv.{name}.json")["requests"] for name in ("receipt", "result"))
    for entries in (receipt, result):
        assert (entries[0]["request"], entries[0]["status"]) == (None, "rejected")
        assert "was used before" in entries[0]["reason"]
        assert not [v for v in (alpha["commitment"], certificate, "completed") if v in str(entries[0])]
        assert entries[1]["request"] == "case-2"
    assert [entry["known_before"] for entry in receipt] == [True, False]
    assert result[1]["status"] == "completed", "the others of the file are carried out"


@pytest.mark.usefixtures("idle")
def test_what_waits_for_approval_is_told_when_it_is_over(trained: Workspace, inbox: Path) -> None:
    set_policy(trained, "pupils", POLICY, ["approval=required"])
    (inbox / "a.txt").write_text(placed(trained, "train")[0])
    assert run(trained, inbox).exit == 7
    result = read(inbox / "a.txt.result.json")["requests"][0]
    assert (result["status"], result["certificate"]) == ("quarantined", None)
    assert run(trained, inbox).exit == 7
    approve_request(trained, result["request"])
    assert run(trained, inbox).exit == 0
    assert read(inbox / "a.txt.result.json")["requests"][0]["status"] == "completed"
    assert left(inbox) == {"a.txt.receipt.json", "a.txt.result.json"}


@pytest.mark.parametrize("fault", [BusyError("locked"), CheckFailedError("something is left"), OSError(28, "full")])
def test_what_cannot_be_carried_out_now_is_tried_again(
    trained: Workspace,
    inbox: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Exception,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = placed(trained, "train")[0]
    (inbox / f"{key}.txt").write_text(key)

    if isinstance(fault, OSError):
        fault.filename = str(inbox / f"{key}.txt")

    def refuse(_: Workspace) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(module, "erase_waiting", refuse)
        assert run(trained, inbox).exit == 7
    assert [r.status for r in list_requests(trained).requests] == ["quarantined"], "accepted all the same"
    logged = capfd.readouterr().err
    assert '"event": "fault"' in logged
    assert key not in logged, "the name of a file may be one of a person"


@pytest.mark.usefixtures("idle")
def test_hostile_names_links_and_folders_do_no_harm(trained: Workspace, inbox: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("not yours")
    (inbox / "link.txt").symlink_to(outside / "secret.txt")
    (inbox / "folder.txt").mkdir()
    os.mkfifo(inbox / "pipe.txt")
    (inbox / ".taken-forged").symlink_to(outside)
    (inbox / "a.txt.receipt.json").symlink_to(outside / "secret.txt")
    (inbox / "x\ny$(id).txt").write_text("nobody")
    (inbox / ("n" * 240 + ".txt")).write_text("nobody")
    (inbox / "run.exe").write_text("nobody")
    (inbox / "empty.csv").write_text("")
    (inbox / "a.txt").write_text("nobody")
    (inbox / ".part-0123456789abcdef").write_text("a dead worker's")
    (inbox / ".part-mine").write_text("a sender's")
    run(trained, inbox)
    assert (outside / "secret.txt").read_text() == "not yours"
    assert [p.name for p in outside.iterdir()] == ["secret.txt"]
    assert (inbox / "link.txt").is_symlink()
    assert (inbox / "x\ny$(id).txt.receipt.json").is_file()
    assert (inbox / "a.txt.2.receipt.json").is_file()
    assert (inbox / ".part-mine").is_file()
    assert not (inbox / ".part-0123456789abcdef").exists()
    assert len(list((inbox / "rejected").glob("*.reason.txt"))) == 3
    again = read(inbox / "a.txt.2.receipt.json")["requests"][0]
    assert again["status"] == "rejected"


@pytest.mark.usefixtures("idle")
def test_one_worker_has_an_inbox_and_it_lies_outside_the_workspace(trained: Workspace, inbox: Path) -> None:
    with module._alone(inbox), pytest.raises(BusyError):
        run(trained, inbox)
    (trained.root / "staging" / "inbox").mkdir()
    with pytest.raises(InputError, match="in the workspace"):
        run(trained, trained.root / "staging" / "inbox")
    with pytest.raises(InputError, match="no folder"):
        run(trained, inbox / "none")


def test_sigterm_ends_the_loop_after_the_step_at_hand(trained: Workspace, inbox: Path) -> None:
    program = [sys.executable, "-c", "from workbench.cli import main; main()", "--workspace", str(trained.root)]
    (inbox / "a.txt").write_text("nobody-at-all\n")
    process = forked.Popen([*program, "worker", "--inbox", str(inbox), "--interval", "60", "--json"])
    try:
        until((inbox / "a.txt.result.json").exists, process)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    finally:
        process.kill()
    assert left(inbox) == {"a.txt.receipt.json", "a.txt.result.json"}

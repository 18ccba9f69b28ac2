"""Handing in, following and taking back requests over HTTP, and predicting under their quarantine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asking import ROWS, bearer, client, erasure_of, fault, identity_of, log_of, state
from conftest import Answer, pupils
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi.testclient import TestClient
from stored import manifest_of, placed

from workbench.api import app as routes
from workbench.bytescan.folders import scan_folder
from workbench.erasure.locate import locate
from workbench.erasure.request import advance, quarantined_shards, submit
from workbench.state import journal, writing
from workbench.state.tables import answers, quarantine
from workbench.state.workspace import Workspace
from workbench.workflows.controllers import submit as module
from workbench.workflows.erasure.decide import deny_request, list_requests
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.erasure.signing_keys import rotate_key
from workbench.workflows.erasure.verify import verify
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.results import PredictedRows

KEY = "3f0a4a2e-0d9a-4b53-9a55-51a9e58a3d10"


def extension(answer: Any) -> dict[str, Any]:
    told: dict[str, Any] = answer.json()["extensions"]["erasure-workbench"]
    return told


def key_of(asking: TestClient) -> Ed25519PublicKey:
    keys = asking.get("/discovery").json()["extensions"]["erasure-workbench"]["signature"]["keys"]
    key = load_pem_public_key(next(k["public_key"] for k in keys if k["current"]).encode())
    assert isinstance(key, Ed25519PublicKey)
    return key


def test_a_request_goes_its_way_to_a_certificate(trained: Workspace, command: Callable[..., Answer]) -> None:
    with client(trained) as asking:
        request = erasure_of("pupil-1000")
        made = asking.post("/requests", json=request)
        assert made.status_code == 201
        body, told = made.json(), extension(made)
        assert (body["request_status"], body["reason"], body["controller_id"]) == ("pending", None, "crm")
        assert body["subject_request_id"] == request["subject_request_id"]
        assert body["expected_completion_time"] > body["received_time"]
        opened = hashlib.sha256(bytes.fromhex(told["nonce"]) + b"pupil-1000").hexdigest()
        assert opened == told["commitment"]
        where = f"/requests/{request['subject_request_id']}"
        assert asking.get(where).json()["request_status"] == "pending"
        assert fault(asking.get(f"/certificates/{request['subject_request_id']}")) == (404, "not_found")
        assert not erase_waiting(trained).failures
        done = asking.get(where)
        assert done.json()["request_status"] == "completed"
        certificate = asking.get(extension(done)["certificate"])
        (trained.root.parent / "c.json").write_bytes(certificate.content)
        verified = command("--workspace", trained.root, "verify", trained.root.parent / "c.json", "--replay", "--json")
        assert verified.json["valid"] is True
        assert fault(asking.delete(where)) == (409, "decided")
    row = list_requests(trained).requests[0]
    assert row.actor == "api:crm"
    assert "nonce" not in extension(done), "it is told once"
    needles = [b"pupil-1000", told["nonce"].encode(), bytes.fromhex(told["nonce"])]
    assert not scan_folder(trained.root, needles).hits


def test_answers_are_signed_over_their_bytes_and_survive_a_rotation(trained: Workspace) -> None:
    with client(trained) as asking:
        request = erasure_of("pupil-1000")
        for _ in range(2):
            key = key_of(asking)
            answers_ = [asking.get("/discovery"), asking.post("/requests", json=request | erasure_of("pupil-1001"))]
            for answer in answers_:
                signature = base64.b64decode(answer.headers["X-OpenDSR-Signature"])
                key.verify(signature, answer.content)
                with pytest.raises(InvalidSignature):
                    key.verify(signature, answer.content + b" ")
                assert answer.headers["X-OpenDSR-Processor-Domain"] == "localhost"
            rotate_key(trained)


def test_the_same_call_gets_the_same_receipt_and_another_under_its_key_is_refused(trained: Workspace) -> None:
    with client(trained) as asking:
        request, headers = erasure_of("pupil-1000"), {"Idempotency-Key": KEY}
        first = asking.post("/requests", json=request, headers=headers)
        assert extension(first)["nonce"]
        before = state(trained)
        again = asking.post("/requests", json=request, headers=headers)
        assert (again.status_code, again.content) == (201, first.content), "with its nonce, which lies nowhere"
        other = asking.post("/requests", json=erasure_of("pupil-1001"), headers=headers)
        assert fault(other) == (422, "reused_key")
        assert fault(asking.post("/requests", json=request)) == (409, "known_request")
        different = asking.post("/requests", json=request, headers={"Idempotency-Key": KEY + "0"})
        assert fault(different) == (409, "known_request")
        assert state(trained) == before, "nothing was changed"
        theirs = bearer(trained, name="shop") | headers
        assert asking.post("/requests", json=erasure_of("pupil-1001"), headers=theirs).status_code == 201
        for bad in ("short", "x" * 256, "with a space in between", "ümlaut" * 4):
            sent = {"Idempotency-Key": bad.encode("latin-1")}
            answer = asking.post("/requests", json=erasure_of("pupil-1002"), headers=sent)
            assert fault(answer) == (400, "bad_input")
    nonce = extension(first)["nonce"]
    assert not scan_folder(trained.root, [KEY.encode(), nonce.encode(), bytes.fromhex(nonce)]).hits


def test_answers_are_kept_for_a_day(trained: Workspace) -> None:
    with client(trained) as asking:
        request, headers = erasure_of("pupil-1000"), {"Idempotency-Key": KEY}
        asking.post("/requests", json=request, headers=headers)
        with writing(trained.engine) as connection:
            connection.execute(answers.update().values(created="2026-01-01T00:00:00+00:00"))
        assert fault(asking.post("/requests", json=request, headers=headers)) == (409, "known_request")
        module.forget_answers(trained)
    with trained.engine.connect() as connection:
        assert connection.execute(answers.select()).all() == []


def test_calls_at_the_same_moment_are_one_request(trained: Workspace) -> None:
    request, told = erasure_of("pupil-1000"), []
    with client(trained) as asking:

        def hand_in() -> None:
            told.append(asking.post("/requests", json=request, headers={"Idempotency-Key": KEY}))

        threads = [threading.Thread(target=hand_in) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in told} == {201}
    assert len({answer.content for answer in told}) == 1
    with trained.engine.connect() as connection:
        assert len(journal.entries(connection, "RECEIVED")) == 1


def test_request_callbacks_and_answer_are_one_write(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyError("pupil-1000")

    request = erasure_of("pupil-1000", status_callback_urls=["https://example.org/x"])
    with client(trained) as asking:
        before = state(trained)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_keep", killed)
            asking_ = TestClient(asking.app, headers=asking.headers, raise_server_exceptions=False)
            failed = asking_.post("/requests", json=request, headers={"Idempotency-Key": KEY})
        assert fault(failed) == (500, "internal")
        assert "pupil" not in failed.text
        assert state(trained) == before
        assert asking.post("/requests", json=request, headers={"Idempotency-Key": KEY}).status_code == 201
    assert all(state(trained)[:4])
    last = [json.loads(line) for line in log_of(trained).read_text().splitlines()]
    broken = next(line for line in last if line.get("status") == 500)
    assert broken["fault"] == "KeyError"
    assert broken["at_line"].startswith("workflows/controllers/submit.py:")


def test_who_is_unknown_is_denied_with_the_reason(trained: Workspace) -> None:
    with client(trained) as asking:
        nobody = asking.post("/requests", json=erasure_of("nobody-of-that-name"), headers={"Idempotency-Key": KEY})
        assert (nobody.status_code, nobody.json()["request_status"]) == (201, "denied")
        assert "nothing found" in nobody.json()["reason"]
        assert extension(nobody)["nonce"] is None
        first = asking.post("/requests", json=erasure_of("pupil-1000")).json()["subject_request_id"]
        twice = asking.post("/requests", json=erasure_of("pupil-1000"))
        assert (twice.json()["request_status"], extension(twice)["duplicate_of"]) == ("denied", first)
        deny_request(trained, first, "they withdrew it by letter")
        denied = asking.get(f"/requests/{first}").json()
        assert (denied["request_status"], denied["reason"]) == ("denied", "they withdrew it by letter")
        other = erasure_of("x", subject_identities=[identity_of("x") | {"identity_type": "email"}])
        assert fault(asking.post("/requests", json=other)) == (404, "not_found")


def test_a_pending_request_is_taken_back_and_no_other(trained: Workspace) -> None:
    with client(trained) as asking:
        first, second = (
            asking.post("/requests", json=erasure_of(key)).json()["subject_request_id"]
            for key in ("pupil-1000", "pupil-1001")
        )
        gone = asking.delete(f"/requests/{first}")
        assert (gone.status_code, gone.json()["request_status"]) == (202, "cancelled")
        assert asking.delete(f"/requests/{first}").status_code == 202, "again is no fault"
        with writing(trained.engine) as connection:
            advance(connection, [second], "planned")
        assert fault(asking.delete(f"/requests/{second}")) == (409, "decided")
        assert asking.get(f"/requests/{second}").json()["request_status"] == "in_progress"
    with trained.engine.connect() as connection:
        assert {row.request for row in connection.execute(quarantine.select())} == {second}


def test_a_controller_sees_its_own_requests_alone(trained: Workspace) -> None:
    by_hand = submit(trained, ["pupils"], "pupil-1001").id
    with client(trained) as asking:
        mine = asking.post("/requests", json=erasure_of("pupil-1000")).json()["subject_request_id"]
        theirs = bearer(trained, name="shop")
        for number in (mine, "7f0a4a2e-0d9a-4b53-9a55-51a9e58a3d10", "pupil-1000"):
            assert fault(asking.get(f"/requests/{number}", headers=theirs)) == (404, "not_found")
            assert fault(asking.delete(f"/requests/{number}", headers=theirs)) == (404, "not_found")
            assert "pupil" not in asking.get(f"/requests/{number}", headers=theirs).text
        assert fault(asking.get(f"/requests/{by_hand}")) == (404, "not_found")
        assert asking.get(f"/requests/{mine}", headers=bearer(trained, name="crm")).status_code == 200


def test_a_request_for_a_person_whom_another_controller_asked_about_is_its_own(trained: Workspace) -> None:
    """The other withdraws theirs, and the person stays under quarantine and is erased."""
    manifest, key = manifest_of(trained), placed(trained, "train")[0]

    def quarantined() -> int:
        with trained.engine.connect() as connection:
            return len(quarantined_shards(connection, "pupils", manifest.partition))

    with client(trained) as alpha:
        theirs = bearer(trained, name="beta")
        first = alpha.post("/requests", json=erasure_of(key))
        second = alpha.post("/requests", json=erasure_of(key), headers=theirs)
        mine, other = (answer.json()["subject_request_id"] for answer in (first, second))
        assert (second.json()["request_status"], second.json()["reason"]) == ("pending", None)
        assert extension(second)["duplicate_of"] is None
        assert mine not in second.text
        assert extension(second)["nonce"] not in (None, extension(first)["nonce"])
        assert extension(second)["commitment"] != extension(first)["commitment"]
        assert alpha.delete(f"/requests/{mine}").json()["request_status"] == "cancelled"
        assert quarantined() == 1, "by the share of the other"
        third = alpha.post("/requests", json=erasure_of(key)).json()["subject_request_id"]
        assert len(erase_waiting(trained).done) == 2
        assert [len(entry["requests"]) for _, entry in published(trained)] == [0, 2], "one erasure"
        for request, headers in ((third, {}), (other, theirs)):
            done = alpha.get(f"/requests/{request}", headers=headers)
            assert done.json()["request_status"] == "completed"
            path = trained.root / "certificates" / f"{request}.json"
            assert verify(trained, path, replay=True).valid
            others = {mine, third, other} - {request}
            signed = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
            assert not [id_ for id_ in others if id_ in json.dumps(signed)], "another's request"
            assert signed["predicate"]["commitment"]["value"] == extension(done)["commitment"]
    assert not locate(trained, [("pupils", key)])


def published(workspace: Workspace) -> list[tuple[str, dict[str, Any]]]:
    with workspace.engine.connect() as connection:
        return journal.entries(connection, "PUBLISHED")


def test_predictions_leave_out_whoever_asked_until_there_is_a_version_without_them(trained: Workspace) -> None:
    with trained.engine.connect() as connection:
        name, artifact = next(iter(current_versions(connection).items()))
    manifest, fresh = read_manifest(trained, artifact), iter(placed(trained, "train"))

    def quarantined() -> int:
        with trained.engine.connect() as connection:
            return len(quarantined_shards(connection, "pupils", manifest.partition))

    with client(trained) as asking:

        def ask() -> Any:
            return asking.post(f"/predict/{name}", json={"rows": ROWS})

        whole = ask().json()
        assert whole["ensemble"] == name
        expected = predict_frame(trained.root, name, pupils(3).head(4)).to_dict("records")
        assert whole["predictions"] == expected
        asking.post("/requests", json=erasure_of(next(fresh)))
        assert ask().json() != whole, "a shard less, at once"
        while quarantined() < len(manifest.constituents):
            asking.post("/requests", json=erasure_of(next(fresh)))
        answer = ask()
        assert fault(answer) == (503, "quarantined")
        assert int(answer.headers["Retry-After"]) > 0
        assert not erase_waiting(trained).failures
        assert ask().json()["predictions"] not in (whole["predictions"], [])


def test_predictions_that_take_long_keep_no_request_waiting(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*arguments: Any) -> Any:
        begun.release()
        go_on.wait(60)
        return arguments[-1](PredictedRows(ensemble="x", predictions=()))

    monkeypatch.setattr(routes, "predict_rows_as", slow)
    with client(trained) as asking:
        told: list[int] = []

        def ask() -> None:
            told.append(asking.post("/predict/x", json={"rows": ROWS}).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2 * routes._THREADS)]
        for thread in threads:
            thread.start()
        for _ in range(routes._PREDICTIONS):
            assert begun.acquire(timeout=60)
        assert asking.post("/requests", json=erasure_of("pupil-1000")).status_code == 201
        assert told == []
        go_on.set()
        for thread in threads:
            thread.join()
    assert told == [200] * len(threads)


def test_rows_that_are_none_are_refused_without_being_quoted(trained: Workspace) -> None:
    with trained.engine.connect() as connection:
        name = next(iter(current_versions(connection)))
    with client(trained, most_rows=5) as asking:
        bad: list[Any] = [
            *([], {}, {"rows": []}, {"rows": {}}, {"rows": [1]}, {"rows": [[]]}, {"rows": ROWS * 2}),
            *({"rows": [ROWS[0] | {"term": value}]} for value in ("a canary", [1], {"a": 1}, 10**30, 1e300, -1, None)),
            *({"rows": [ROWS[0] | {"town": "canary"}]}, {"rows": [{"term": 1}]}, {"rows": [{}]}),
        ]
        for document in bad:
            answer = asking.post(f"/predict/{name}", json=document)
            assert fault(answer) == (400, "bad_input"), document
            assert "canary" not in answer.text
        for content in (b'{"rows": [{"term": NaN}]}', b'{"rows": [], "rows": []}', b"\xff\xfe", b"[" * 50_000, b""):
            headers = {"Content-Type": "application/json"}
            assert fault(asking.post(f"/predict/{name}", content=content, headers=headers)) == (400, "bad_input")
        assert fault(asking.post("/predict/pupil-1000", json={"rows": ROWS})) == (404, "not_found")
        assert "pupil" not in asking.post("/predict/pupil-1000", json={"rows": ROWS}).text
        more = asking.post(f"/predict/{name}", json={"rows": [row | {"pupil": "pupil-1000"} for row in ROWS]})
        assert more.status_code == 200, "what is no feature is not looked at"


def test_health_and_counts(trained: Workspace) -> None:
    with client(trained) as asking:
        asking.headers.pop("Authorization")
        assert asking.get("/healthz").json() == {"status": "ok"}
        found = asking.get("/discovery").json()
        assert found["supported_identities"] == [{"identity_type": "pupil-number", "identity_format": "raw"}]
        assert found["supported_subject_request_types"] == ["erasure"]
        asking.headers.update(bearer(trained))
        asking.post("/requests", json=erasure_of("pupil-1000"))
        text = asking.get("/metrics").text
        assert 'workbench_requests{of="quarantined"} 1.0' in text
        assert 'workbench_api_calls_total{method="POST",route="/requests",status="201"} 1.0' in text
        assert "pupil" not in text

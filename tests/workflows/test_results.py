"""The JSON of results: which keys there are, in which order, and which are absent where nothing is known."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from workbench.erasure.policy import ErasurePolicy
from workbench.metrics.estimate import Estimate
from workbench.state.lineage import Artifact
from workbench.workflows.controllers.results import ReceiptEntry, RefusedEntry, RequestReceipt
from workbench.workflows.erasure.results import (
    Answer,
    DatasetPolicy,
    ErasedAnswer,
    HeldHit,
    RefusedAnswer,
    RequestAnswer,
    RetrainedEnsemble,
    WaitingAnswer,
)
from workbench.workflows.operations.results import ArtifactSummary
from workbench.workflows.result import plain

REQUEST = {"request": "er-1", "status": "completed", "due": "2026-02-01", "nonce": "ab", "reason": None}
ASKED = ["request", "status", "shards", "certificate", "due", "nonce", "reason"]


def test_an_answer_has_the_keys_that_its_person_is_owed() -> None:
    version = RetrainedEnsemble(ensemble="e", version=2, metrics={"auc": Estimate(value=0.9, low=0.8, high=1.0, n=7)})
    erased = ErasedAnswer(**REQUEST, line=3, ensembles=(version,), retrain_seconds=0.5, predicted_seconds=0.4)
    assert list(erased.to_json()) == [*ASKED, "line", "ensembles", "retrain_seconds", "predicted_seconds"]
    assert erased.to_json()["ensembles"] == [
        {"ensemble": "e", "version": 2, "metrics": {"auc": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 7}}}
    ]
    assert list(RequestAnswer(**REQUEST, exit=3).to_json()) == ASKED, "neither a line that is none nor the exit code"
    waiting = WaitingAnswer(**REQUEST, not_before=None).to_json()
    assert list(waiting) == [*ASKED, "not_before"], "null for a request that waits for no window"
    assert list(Answer(request=None, status="planned").to_json()) == ASKED[:4]
    refused = RefusedAnswer(reason="line 2: nothing found", exit=2)
    assert refused.to_json() == {
        **{"request": None, "status": "rejected", "shards": [], "certificate": None},
        "reason": "line 2: nothing found",
    }
    with pytest.raises(FrozenInstanceError):
        refused.exit = 0  # type: ignore[misc]


def test_what_is_absent_is_left_out_and_what_is_null_stays() -> None:
    assert HeldHit(place="in a file").to_json() == {"place": "in a file"}
    body = {"version": 3, "private": False, "epsilon": None, "config": {"hidden": 1}}
    made = Artifact(id="g", kind="generator", dataset="d", digest=None, path=None, derived_from=("d",), body=body)
    shown = ArtifactSummary.of_artifact(made).to_json()
    assert list(shown) == ["id", "kind", "dataset", "digest", "path", "created", "version", "private", "epsilon"]
    assert (shown["digest"], shown["epsilon"], shown["private"]) == (None, None, False)
    policy = DatasetPolicy(dataset="d", policy=ErasurePolicy(due_days=20)).to_json()["policy"]
    assert ErasurePolicy.model_validate(json.loads(json.dumps(policy))).due_days == 20
    assert plain({"a": (Path("/w/x"), None)}) == {"a": ["/w/x", None]}


def test_entries_of_a_file_say_what_the_sender_may_know() -> None:
    refused = RefusedEntry(line=2, reason="no such person", exit=3)
    assert list(refused.to_json()) == ["line", "request", "status", "reason"]
    entry = ReceiptEntry(line=1, request="er-1", status="quarantined", reason=None, known_before=False, exit=7)
    assert list(entry.to_json()) == [
        *("line", "request", "status", "due", "commitment"),
        *("nonce", "reason", "duplicate_of", "known_before"),
    ]


def test_a_receipt_that_was_kept_reads_back_as_it_was_said() -> None:
    said = {
        "controller_id": "crm",
        "subject_request_id": "er-1",
        "request_status": "pending",
        "reason": None,
        "received_time": "2026-01-01",
        "expected_completion_time": "2026-02-01",
        "api_version": "2.0",
        "results_url": None,
        "extensions": {
            "erasure-workbench": {
                "status": "quarantined",
                "approval": "none",
                "not_before": None,
                "commitment": "c0",
                "certificate": None,
                "nonce": None,
                "duplicate_of": None,
            }
        },
    }
    assert json.dumps(RequestReceipt.from_json(said).to_json()) == json.dumps(said)

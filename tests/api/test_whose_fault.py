"""The server's faults are answered 5xx and the caller's 4xx, with a stable word and no path, digest or trace."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking import ROWS, bearer, client, erasure_of, fault
from fastapi.testclient import TestClient
from sqlalchemy.exc import DatabaseError
from stored import ensemble_of, manifest_of

from workbench import errors
from workbench.api import app as module
from workbench.errors import WorkbenchError
from workbench.state import writing
from workbench.state.workspace import Workspace

ANSWERED: dict[str, tuple[int, str]] = {
    "WorkbenchError": (500, "failed"),
    "CheckFailedError": (500, "check_failed"),
    "DamagedError": (500, "damaged"),
    "BusyError": (503, "busy"),
    "LockedError": (503, "busy"),
    "OutdatedError": (503, "busy"),
    "HeldError": (500, "check_failed"),
    "CancelledError": (503, "cancelled"),
    "QuarantinedError": (503, "quarantined"),
    "InputError": (400, "bad_input"),
    "MalformedKeyError": (400, "bad_input"),
    "NamingError": (400, "bad_input"),
    "BrokenSchemaError": (400, "bad_input"),
    "UnusableNotesError": (400, "bad_input"),
    "DecidedError": (409, "decided"),
    "KnownRequestError": (409, "known_request"),
    "ReusedKeyError": (422, "reused_key"),
    "UnknownCallerError": (401, "unknown_caller"),
    "ScopeError": (403, "scope"),
    "MissingExtraError": (400, "missing_extra"),
    "BudgetError": (403, "budget"),
    "ForbiddenError": (403, "forbidden"),
    "NotFoundError": (404, "not_found"),
    "ApprovalRequiredError": (409, "awaiting_approval"),
}


def kinds(of: type[WorkbenchError]) -> Iterator[type[WorkbenchError]]:
    if not of.__name__.startswith("_"):  # what a room keeps to itself leaves it as another
        yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


def test_every_fault_has_its_answer(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Exception] = []

    def broken(*_: Any, **__: Any) -> Any:
        raise raised[0]

    monkeypatch.setattr(module, "counts", broken)
    with client(trained) as asking:
        patient = TestClient(asking.app, headers=asking.headers, raise_server_exceptions=False)
        found = {}
        for kind in kinds(WorkbenchError):
            raised[:] = [kind(f"no {trained.root}", hint=f"in {trained.root}/x")]
            answer = patient.get("/metrics")
            assert str(trained.root) not in answer.text
            assert ("Retry-After" in answer.headers) == (answer.status_code == 503)
            found[kind.__name__] = fault(answer)
        assert found.items() <= ANSWERED.items()  # of rooms that are not imported none is found
        others: list[tuple[Exception, tuple[int, str]]] = [
            (OSError(errno.ENOSPC, "full", str(trained.root)), (503, "disk")),
            (DatabaseError("a statement", {}, Exception("a canary")), (500, "internal")),
            (KeyError("a canary"), (500, "internal")),
            (RecursionError(), (500, "internal")),
        ]
        for unexpected, told in others:
            raised[:] = [unexpected]
            answer = patient.get("/metrics")
            assert fault(answer) == told
            assert "canary" not in answer.text + str(trained.root)
            assert str(trained.root) not in answer.text
    assert errors.DamagedError.exit_code == 2, "of commands it is a fault of what they were given"


def damage(*patterns: str) -> Callable[[Workspace], None]:
    def do(workspace: Workspace) -> None:
        found = [path for pattern in patterns for path in workspace.root.glob(pattern) if path.is_file()]
        assert found
        for path in found:
            path.write_bytes(b"damaged")

    return do


CALLS: dict[str, tuple[str, str, Any]] = {
    "predict": ("POST", "/predict/{ensemble}", {"rows": ROWS}),
    "submit": ("POST", "/requests", erasure_of("pupil-1000")),
    "follow": ("GET", "/requests/7f0a4a2e-0d9a-4b53-9a55-51a9e58a3d10", None),
    "discovery": ("GET", "/discovery", None),
}
DAMAGE = [
    ("predict", damage("objects/*/*/*"), "a checkpoint"),
    ("submit", damage("data/*/*.parquet"), "the records"),
    ("submit", damage("keys/token.key"), "the token key"),
    ("submit", damage("keys/signing.pem"), "the signing key"),
    ("submit", damage("keys/api.key"), "the api's key"),
    ("follow", damage("keys/api.key"), "the api's key"),
    ("discovery", damage("keys/signing.pub.pem"), "the public key"),
]


@pytest.mark.parametrize(("call", "harm", "what"), DAMAGE, ids=lambda one: one if isinstance(one, str) else "")
def test_what_is_damaged_here_is_no_fault_of_the_caller(
    trained: Workspace, call: str, harm: Callable[[Workspace], None], what: str
) -> None:
    ensemble, digests = ensemble_of(trained), manifest_of(trained).checkpoints()
    method, path, body = CALLS[call]
    with client(trained) as asking:
        harm(trained)
        answer = asking.request(method, path.format(ensemble=ensemble), json=body)
    assert fault(answer) == (500, "damaged"), what
    assert answer.json()["error"]["hint"] == "its operator: workbench doctor"
    assert str(trained.root) not in answer.text
    assert not re.search("[0-9a-f]{12}", answer.text)
    assert not any(digest[:8] in answer.text for digest in digests)


def test_a_database_that_somebody_holds_is_busy_and_one_may_come_again(
    trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workbench.state import database

    monkeypatch.setattr(database, "_PATIENCE_MS", 50)
    with client(trained) as asking:
        token = bearer(trained)
        with writing(trained.engine):
            monkeypatch.setattr(database, "_TURN", _Nobody())  # the server is a process of its own
            answer = asking.post("/requests", json=erasure_of("pupil-1000"), headers=token)
        assert fault(answer) == (503, "busy")
        assert int(answer.headers["Retry-After"]) > 0
        assert asking.post("/requests", json=erasure_of("pupil-1000"), headers=token).status_code == 201


class _Nobody:
    """A turn that is always free."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

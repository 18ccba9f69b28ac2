"""Asking the api in tests: a client with a token, and requests as OpenDSR says."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import pupils
from fastapi.testclient import TestClient

from workbench.api.app import make_app
from workbench.api.log import Log
from workbench.api.settings import Settings
from workbench.state import journal
from workbench.state.tables import answers, callbacks, quarantine, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.tokens import SCOPES, create_token

ROWS: list[dict[str, Any]] = json.loads(pupils(3).drop(columns=["pupil", "passed"]).head(4).to_json(orient="records"))


def erasure_of(key: str, **fields: Any) -> dict[str, Any]:
    """A request for one pupil."""
    return {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-01-31T12:00:00Z",
        "api_version": "2.0",
        "subject_identities": [identity_of(key)],
        **fields,
    }


def identity_of(key: str) -> dict[str, str]:
    return {"identity_type": "pupil-number", "identity_value": key, "identity_format": "raw"}


def bearer(workspace: Workspace, *scopes: str, name: str = "crm") -> dict[str, str]:
    """The header of a new token, by default one for everything."""
    return {"Authorization": f"Bearer {create_token(workspace, name, scopes or SCOPES).secret}"}


def log_of(workspace: Workspace) -> Path:
    return workspace.root / "logs" / "api.log"


@contextmanager
def client(workspace: Workspace, **settings: Any) -> Iterator[TestClient]:
    """A client of a server in this process, with a token for everything; callbacks are looked for only when asked."""
    log = Log(log_of(workspace))
    settings = {"callback_interval": 3600.0, **settings}
    served = Workspace.serve(workspace.root)
    with TestClient(make_app(served, Settings(**settings), log), headers=bearer(workspace)) as asking:
        yield asking
    served.engine.dispose()
    log.close()


def fault(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "reason", "message", "hint"}
    assert error["code"] == answer.status_code
    return answer.status_code, error["reason"]


def state(workspace: Workspace) -> list[Any]:
    """All that a request could have changed."""
    with workspace.engine.connect() as connection:
        found = [connection.execute(table.select()).all() for table in (requests, quarantine, callbacks, answers)]
        return [*found, journal.head(connection)]

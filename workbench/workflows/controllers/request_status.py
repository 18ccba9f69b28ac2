"""Following a request that came over HTTP: how it stands, taking it back, its certificate. A controller sees its own."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from workbench.erasure.open_dsr import CANCELLED
from workbench.erasure.request import withdraw
from workbench.errors import NotFoundError
from workbench.state import journal
from workbench.state.roles import allowed, open_to_all
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.results import Standing
from workbench.workflows.controllers.tokens import Caller


@open_to_all
def follow(workspace: Workspace, caller: Caller, request: str) -> Standing:
    """How a request of the caller's controller stands; raises NotFoundError for any other."""
    with workspace.engine.connect() as connection:
        row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
        is_theirs = row is not None and journal.is_actor(connection, row.actor, caller.actor)
    if row is None or not is_theirs:
        raise NotFoundError("no such request of this controller")
    return Standing.of(row, caller.name)


@allowed("operate")
def cancel(workspace: Workspace, caller: Caller, request: str) -> Standing:
    """Takes a request of the caller's controller back and lifts its quarantine; DecidedError where it is no longer pending.

    One that was taken back before stays so.
    """
    before = follow(workspace, caller, request)
    if before.request_status == CANCELLED:
        return before
    with journal.acting(caller.actor):
        withdraw(workspace, request, status="cancelled", reason="cancelled by its controller")
    return follow(workspace, caller, request)


@open_to_all
def certificate(workspace: Workspace, request: str) -> bytes:
    """The signed certificate of a request, byte for byte; raises NotFoundError where there is none (yet)."""
    with workspace.engine.connect() as connection:
        path = connection.execute(select(requests.c.certificate).where(requests.c.id == request)).scalar()
    if path is None or not (workspace.root / path).is_file():
        raise NotFoundError("no certificate of such a request", hint="there is one once the request is completed")
    return Path(workspace.root, path).read_bytes()

"""Telling controllers how their requests stand, at the addresses they gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from sqlalchemy import select

from workbench.erasure.callback import Callback, claim, delivered, failed, is_any_due
from workbench.erasure.callback_url import CallbackRules, Resolve, checked, resolve
from workbench.erasure.deliver import deliver
from workbench.erasure.open_dsr import told_at
from workbench.errors import WorkbenchError
from workbench.state import writing
from workbench.state.tables import requests
from workbench.workflows.sign import signed
from workbench.workflows.tokens import KEY
from workbench.workspace import Workspace

_AT_ONCE = 8
Log = Callable[..., None]


def _silent(_: str, **__: Any) -> None:
    """Logs nothing."""


def tell_callbacks(
    workspace: Workspace, rules: CallbackRules, domain: str, *, log: Log = _silent, resolver: Resolve = resolve
) -> int:
    """Tells what is due, several at once; returns how many were tried.

    What fails is tried again, later each time, by whichever process looks next: attempts are kept in the database. A status
    may be told twice where a process was killed in between, and is never lost by it.
    """
    with workspace.engine.connect() as connection:
        if not is_any_due(connection):
            return 0
    with writing(workspace.engine) as connection:
        taken = claim(connection, workspace.key(KEY), _AT_ONCE)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        ends = threads.map(partial(_tell, workspace, rules, domain, resolver), taken)
        outcomes = list(zip(taken, ends, strict=True))
    _note(workspace, outcomes, log)
    return len(taken)


def _tell(
    workspace: Workspace, rules: CallbackRules, domain: str, resolver: Resolve, callback: Callback
) -> WorkbenchError | None:
    """The fault of one delivery, if there was one."""
    try:
        url = checked(callback.url, rules)
        with workspace.engine.connect() as connection:
            row = connection.execute(select(requests).where(requests.c.id == callback.request)).one()
        body, headers = signed(workspace, told_at(row, row.actor.removeprefix("api:"), callback.url), domain)
        headers |= {"Content-Type": "application/json", "User-Agent": "erasure-workbench"}
        deliver(url, body, headers, rules=rules, resolver=resolver)
    except WorkbenchError as fault:
        return fault
    return None


def _note(workspace: Workspace, outcomes: Sequence[tuple[Callback, WorkbenchError | None]], log: Log) -> None:
    with writing(workspace.engine) as connection:
        for callback, fault in outcomes:
            told = {"request": callback.request, "status": callback.status, "attempt": callback.attempts}
            if fault is None:
                delivered(connection, callback)
                log("callback", **told)
            else:
                lost = failed(connection, callback)
                log("callback lost" if lost else "callback failed", **told, reason=str(fault))

"""Telling controllers how their requests stand, at the addresses they gave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, select

from workbench.erasure.callback import Callback, claim, delivered, failed, is_any_due
from workbench.erasure.callback_url import CallbackRules, Resolve, checked, resolve
from workbench.erasure.deliver import deliver
from workbench.erasure.open_dsr import STATUS_OF
from workbench.errors import WorkbenchError
from workbench.state import journal, writing
from workbench.state.roles import allowed, internal
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.results import CallbackDocument
from workbench.workflows.controllers.sign_answers import signed
from workbench.workflows.controllers.tokens import KEY

_AT_ONCE = 8
RULES = "CALLBACK_RULES"  # the kind of journal entry that says how callbacks are told
_RESTORED = "RESTORED"  # and the one after which nobody is told until that is said again
_LAST_SECONDS = 15.0  # what those under way have, once a process was asked to end
Log = Callable[..., None]


def _silent(_: str, **__: Any) -> None:
    """Logs nothing."""


@allowed("administer")
def note_rules(workspace: Workspace, rules: CallbackRules, domain: str) -> None:
    """Has all processes over the workspace tell callbacks by these rules, in the name of `domain`, until others are noted."""
    said = {"domain": domain, **asdict(rules)}
    with writing(workspace.engine) as connection:
        if _noted(connection) != said:
            journal.append(connection, RULES, **said)


@internal
def tell_due(workspace: Workspace, *, log: Log = _silent) -> int:
    """Tells what is due as `tell_callbacks` does, by the rules of the server that was started last.

    Nothing is told before one was started over this workspace: a restored copy may be a drill beside the workspace that counts.
    """
    with workspace.engine.connect() as connection:
        noted = _noted(connection) if is_any_due(connection) else None
    if noted is None:
        return 0
    rules = {name: value for name, value in noted.items() if name != "domain"}
    return tell_callbacks(workspace, domain=noted["domain"], rules=CallbackRules(**rules), log=log)


@allowed("operate", "decide")
def tell_waiting(workspace: Workspace, *, seconds: float = 30.0, log: Log = _silent) -> None:
    """Tells all that is due now, for at most so many seconds; nothing is raised, as what is left is told by whoever is next."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _guarded(partial(tell_due, workspace, log=log), log):
        pass


@internal
@contextmanager
def telling(tell: Callable[[], int], *, interval: float, log: Log) -> Iterator[None]:
    """Calls `tell` beside the block, at once again where something was told; a fault is logged by its kind and tried again."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            if not _guarded(tell, log):
                stop.wait(interval)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=_LAST_SECONDS)


def _guarded(tell: Callable[[], int], log: Log) -> int:
    try:
        return tell()
    except Exception as fault:  # whatever it meets, others are told later; the message could quote an address
        log("fault", kind=type(fault).__name__)
        return 0


def _noted(connection: Connection) -> Mapping[str, Any] | None:
    """The rules noted last, as the journal has them; None where there are none since the workspace was made or restored."""
    found = [entry for kind in (RULES, _RESTORED) for entry in journal.latest(connection, kind=kind, limit=1)]
    last = max(found, key=lambda entry: int(entry["sequence"]), default=None)
    return dict(last["body"]) if last is not None and last["kind"] == RULES else None


@internal
def tell_callbacks(
    workspace: Workspace, rules: CallbackRules, domain: str, *, log: Log = _silent, resolver: Resolve = resolve
) -> int:
    """Tells what is due, several at once; returns how many were tried.

    What fails is tried again, later each time, by whichever process looks next: attempts are kept in the database, where what
    one process is about to tell is claimed. A status may be told twice where a process was killed in between, and is never
    lost by it.
    """
    with workspace.engine.connect() as connection:
        if not is_any_due(connection):
            return 0
    with writing(workspace.engine) as connection:
        taken = claim(connection, workspace.key(KEY), _AT_ONCE)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        outcomes = list(threads.map(partial(_tell, workspace, rules, domain, resolver), taken))
    _note(workspace, outcomes, log)
    return len(taken)


def _tell(
    workspace: Workspace, rules: CallbackRules, domain: str, resolver: Resolve, callback: Callback
) -> tuple[Callback, WorkbenchError | None]:
    """One delivery, with the status that was told, and its fault if there was one."""
    try:
        url = checked(callback.url, rules)
        with workspace.engine.connect() as connection:
            row = connection.execute(select(requests).where(requests.c.id == callback.request)).one()
        callback = replace(callback, status=STATUS_OF[row.status])  # it may have changed since it was claimed
        document = CallbackDocument.of_url(row, row.actor.removeprefix("api:"), callback.url)
        body, headers = signed(workspace, document, domain)
        headers |= {"Content-Type": "application/json", "User-Agent": "erasure-workbench"}
        deliver(url, body, headers, rules=rules, resolver=resolver)
    except WorkbenchError as fault:
        return callback, fault
    return callback, None


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

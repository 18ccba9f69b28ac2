"""Accepting a hit of the byte scan: a person answers for it that it does not say anything of the one to be erased."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from workbench.erasure import saga, vault
from workbench.erasure.free_text import refuse_file, refuse_names, refuse_own_names
from workbench.erasure.request import refuse_own
from workbench.errors import InputError, NotFoundError
from workbench.state import journal, writing
from workbench.state.roles import allowed, internal
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.results import AcceptedHit, HeldHit

_MARK = 16  # hexadecimal digits of a mark that are shown


@allowed("decide")
def accept_hit(
    workspace: Workspace, request: str, *, file: str, offset: int | None = None, reason: str, mark: str = ""
) -> AcceptedHit:
    """Accept what the last byte scan of a held request found in `file` at `offset`, as requests show names it.

    `mark` tells hits apart that have the same offset, in different cells or members of the file. Without an offset a file is
    accepted that can't be searched to its end, as it is now; where it has more hits than are listed, all are accepted with it.

    What is accepted is that text with the bytes around it, or its whole cell: other words in the same file are other hits. It
    is journalled by its mark, a keyed hash, and stands on the certificate with file and reason. A token, a copy of a removed
    file and the name of a file can't be accepted. Raises InputError where the last scan found nothing there, or the reason or
    the file's name names a person; ForbiddenError for the requester, where the policy wants four eyes.
    """
    if not reason.strip():
        raise InputError("a hit is accepted for a reason", hint="--reason: why it says nothing of the person")
    refuse_names(workspace, reason, "the reason")
    refuse_file(workspace, file)
    with writing(workspace.engine) as connection:
        row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
        if row is None:
            raise NotFoundError(f"no request {request!r} here", hint="workbench requests list")
        refuse_own(connection, row, "accept what its scan found")
        erasure = next((e for e in saga.unfinished(connection) if e.held and request in e.requests), None)
        if erasure is None:
            raise InputError(
                f"request {request} is not held by a hit of its byte scan: it is {row.status}",
                hint="workbench requests show tells what it waits for",
            )
        box = vault.unseal(connection, request)
        needles = {bytes.fromhex(needle) for needle in (*box["needles"], *box.get("short", ()))}
        refuse_own_names(needles, reason, "the reason")
        refuse_own_names(needles, file, "the name of the file")
        found = [
            hit
            for hit in erasure.hits
            if hit.get("file") == file and hit.get("offset") == offset and hit.get("mark", "").startswith(mark)
        ]
        if not found:
            raise InputError(
                f"the last byte scan of request {request} found nothing there that can be accepted",
                hint="workbench requests show tells files and offsets; workbench resume scans again",
            )
        if len({hit["mark"] for hit in found}) > 1:
            raise InputError(
                f"the last byte scan of request {request} found {len(found)} hits there",
                hint="each is accepted by itself: --mark MARK, which workbench requests show names",
            )
        taken = [{**hit, "reason": reason.strip()} for hit in found]
        left = tuple(hit for hit in erasure.hits if hit not in found)
        accepted = (*erasure.accepted, *taken)
        saga.save(connection, erasure.model_copy(update={"hits": left, "accepted": accepted, "tried": 0.0}))
        journal.append(connection, "HIT_ACCEPTED", request=request, mark=taken[0]["mark"])
    return AcceptedHit(request=request, file=file, offset=offset, left=len(left))


@internal
def held_hits(workspace: Workspace, request: str) -> tuple[HeldHit, ...]:
    """Return what the last byte scan of a held request found."""
    with workspace.engine.connect() as connection:
        erasure = next((e for e in saga.unfinished(connection) if e.held and request in e.requests), None)
    return tuple(map(_shown, erasure.hits)) if erasure else ()


def _shown(hit: Mapping[str, Any]) -> HeldHit:
    mark = hit["mark"][:_MARK] if "mark" in hit else None
    return HeldHit(place=hit["place"], file=hit.get("file"), offset=hit.get("offset"), mark=mark)

"""Who may not come back: the one thing about a person that stays, where the policy keeps it.

A suppression token says nothing about a person to anyone without the workspace's keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from sqlalchemy import Connection, select

from workbench.data.ingest import KeyRing
from workbench.erasure import vault
from workbench.erasure.request import OPEN
from workbench.errors import BusyError
from workbench.schema import Schema
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.tables import requests, suppressions
from workbench.workspace import Workspace

Tokens = dict[str, frozenset[bytes]]


def suppressed(connection: Connection) -> Tokens:
    """Suppression tokens by identity type: of those who were erased, and of those whose request is open."""
    return _by_type([*_erased(connection), *_asking(connection, _open(connection))])


def listed(connection: Connection) -> Tokens:
    """Suppression tokens by identity type of those who were erased, or are about to be: no request waits for approval."""
    undecided = set(connection.execute(select(requests.c.id).where(requests.c.approval == "waiting")).scalars())
    return _by_type([*_erased(connection), *_asking(connection, _open(connection) - undecided)])


def suppress(connection: Connection, tokens: Tokens, *, request: str) -> None:
    """Adds suppression tokens, in the caller's write transaction."""
    rows = [
        {"token": token, "identity_type": kind, "request": request} for kind, some in tokens.items() for token in some
    ]
    if rows:
        connection.execute(suppressions.insert().prefix_with("OR IGNORE"), rows)


def key_ring(workspace: Workspace, schema: Schema, ingest_id: str) -> KeyRing:
    """What an ingest of a schema's table needs to know of people: keys, and who was erased."""
    ring = KeyRing(workspace.key("token"), workspace.key("placement"), schema.identity_type, ingest_id)
    if schema.subject == ROW_SUBJECT:
        return ring
    with workspace.engine.connect() as connection:
        erased = suppressed(connection).get(schema.identity_type, frozenset())
    return ring._replace(suppression=workspace.key("suppression"), suppressed=erased)


def refuse_erased_meanwhile(connection: Connection, ring: KeyRing) -> None:
    """Raises BusyError where a request came in since the ring was made: its person's rows may be among those read."""
    if ring.suppression and not suppressed(connection).get(ring.identity_type, frozenset()) <= ring.suppressed:
        raise BusyError("an erasure request came in while the table was read; nothing was stored", hint="try again")


def _erased(connection: Connection) -> Iterator[tuple[str, bytes]]:
    for row in connection.execute(select(suppressions)):
        yield row.identity_type, row.token


def _open(connection: Connection) -> set[str]:
    return set(connection.execute(select(requests.c.id).where(requests.c.status.in_(OPEN))).scalars())


def _asking(connection: Connection, open_requests: Collection[str]) -> Iterator[tuple[str, bytes]]:
    for request in sorted(open_requests):
        if vault.holds(connection, request):
            for kind, token in vault.unseal(connection, request)["suppress"]:
                yield kind, bytes.fromhex(token)


def _by_type(pairs: Collection[tuple[str, bytes]]) -> Tokens:
    found = defaultdict(set)
    for kind, token in pairs:
        found[kind].add(token)
    return {kind: frozenset(tokens) for kind, tokens in found.items()}

"""Who may not come back: the one thing about a person that stays, where the policy keeps it.

A suppression token says nothing about a person to anyone without the workspace's keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from sqlalchemy import ColumnElement, Connection, select, true

from workbench.data.ingest_table import KeyRing
from workbench.erasure import vault
from workbench.erasure.request import OPEN
from workbench.errors import BusyError
from workbench.schema import Schema
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.tables import requests, suppressions
from workbench.state.workspace import Workspace

Token = tuple[str, bytes]  # with its identity type
Tokens = dict[str, frozenset[bytes]]


def suppressed(connection: Connection) -> Tokens:
    """Suppression tokens by identity type: of those who were erased, and of those whose request is open."""
    return _by_type([*_erased(connection), *(token for tokens, _ in _asking(connection, true()) for token in tokens)])


def listed(connection: Connection) -> Tokens:
    """Suppression tokens by identity type that stay: of those who were erased, or are about to be.

    Who waits for approval is not among them, nor whom the policy of a request keeps no token of.
    """
    asking = _asking(connection, requests.c.approval != "waiting")
    return _by_type([*_erased(connection), *(token for tokens, keeps in asking if keeps for token in tokens)])


def of_request(connection: Connection, request: str) -> tuple[list[Token], bool]:
    """Return the identity types and suppression tokens that an open request knows, and whether they stay once it is over."""
    box = vault.unseal(connection, request)
    return [(kind, bytes.fromhex(token)) for kind, token in box["suppress"]], box.get("keeps", True)


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


def _erased(connection: Connection) -> Iterator[Token]:
    for row in connection.execute(select(suppressions)):
        yield row.identity_type, row.token


def _asking(connection: Connection, chosen: ColumnElement[bool]) -> Iterator[tuple[list[Token], bool]]:
    """What `of_request` says of the open requests chosen."""
    asking = select(requests.c.id).where(requests.c.status.in_(OPEN), chosen).order_by(requests.c.id)
    for request in list(connection.execute(asking).scalars()):
        if vault.holds(connection, request):
            yield of_request(connection, request)


def _by_type(pairs: Collection[Token]) -> Tokens:
    found = defaultdict(set)
    for kind, token in pairs:
        found[kind].add(token)
    return {kind: frozenset(tokens) for kind, tokens in found.items()}

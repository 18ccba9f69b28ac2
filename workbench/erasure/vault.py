"""What an open request must know of its person, sealed under a key of its own; destroying the key forgets it.

The box is AES-256-GCM. Whoever has the database without the key row, such as a backup made after completion, has nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select

from workbench.errors import DamagedError
from workbench.state.tables import vault

_NONCE = bytes(12)  # each key seals one box, so its nonce never repeats


def seal(connection: Connection, request: str, content: dict[str, Any]) -> None:
    """Stores `content` for a request under a fresh key, in the caller's write transaction."""
    key = AESGCM.generate_key(bit_length=256)
    box = AESGCM(key).encrypt(_NONCE, json.dumps(content).encode(), request.encode())
    connection.execute(vault.insert().values(request=request, key=key, box=box))


def unseal(connection: Connection, request: str) -> dict[str, Any]:
    """What was sealed for a request; raises DamagedError where it is gone or was altered."""
    row = connection.execute(select(vault).where(vault.c.request == request)).one_or_none()
    if row is None:
        raise DamagedError(f"request {request} keeps nothing about its person any more")
    try:
        content: dict[str, Any] = json.loads(AESGCM(row.key).decrypt(_NONCE, row.box, request.encode()))
    except InvalidTag:
        raise DamagedError(
            f"what request {request} keeps was altered", hint="restore the workspace from a backup"
        ) from None
    return content


def holds(connection: Connection, request: str) -> bool:
    """Whether something is still sealed for a request."""
    return connection.execute(select(vault.c.request).where(vault.c.request == request)).first() is not None


def destroy(connection: Connection, requests: Collection[str]) -> None:
    """Destroys keys and boxes of requests, in the caller's write transaction."""
    connection.execute(vault.delete().where(vault.c.request.in_(requests)))

"""The callbacks of a request: kept, under seal, until the last status of it was told or trying has no sense any more.

What is kept is where to tell and which status was told last. Whatever differs from the status of today is to be told: nothing
is queued, so nothing is lost by a kill, and a status that passed quickly is not told any more. The addresses are sealed
because a sender may write anything into them, and the byte scan must find nobody here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, case, select

from workbench.erasure.open_dsr import FINAL, STATUS_OF
from workbench.state import journal
from workbench.state.tables import callbacks, requests

MAX_URLS = 10
MAX_ATTEMPTS = 19  # about two days
_FIRST, _LONGEST = 10.0, 6 * 3600.0  # seconds between two attempts
_LEASE = 120.0  # seconds that one has for an attempt before another may try


@dataclass(frozen=True, kw_only=True)
class Callback:
    """One status to tell at one address."""

    id: str
    request: str
    url: str
    status: str
    attempts: int


def register(connection: Connection, key: bytes, request: str, urls: Sequence[str], status: str) -> None:
    """Has changes from `status` on told at those addresses, in the caller's write transaction."""
    for url in urls:
        nonce = secrets.token_bytes(12)
        values = {
            "id": secrets.token_hex(8),
            "request": request,
            "address": nonce + AESGCM(key).encrypt(nonce, url.encode(), request.encode()),
            "told": status,
            "attempts": 0,
            "next_try": 0.0,
        }
        connection.execute(callbacks.insert().values(**values))


def is_any_due(connection: Connection) -> bool:
    """Whether there is something to tell now."""
    return connection.execute(_due().limit(1)).first() is not None


def claim(connection: Connection, key: bytes, most: int) -> list[Callback]:
    """Takes callbacks that are due, in the caller's write transaction: nobody else tries them for a while.

    One that this key does not open never will be told: it is given up, and the others go on.
    """
    found = []
    for row in connection.execute(_due().order_by(callbacks.c.next_try).limit(most)).all():
        nonce, box = row.address[:12], row.address[12:]
        try:
            url = AESGCM(key).decrypt(nonce, box, row.request.encode()).decode()
        except InvalidTag:
            _give_up(connection, row.id, row.request, row.status)
            continue
        found.append(Callback(id=row.id, request=row.request, url=url, status=row.status, attempts=row.attempts + 1))
        _set(connection, row.id, attempts=row.attempts + 1, next_try=time.time() + _LEASE)
    return found


def delivered(connection: Connection, callback: Callback) -> None:
    """Notes that the status was told; after the last one the callback goes."""
    if callback.status in FINAL:
        connection.execute(callbacks.delete().where(callbacks.c.id == callback.id))
    else:
        _set(connection, callback.id, told=callback.status, attempts=0, next_try=0.0)


def failed(connection: Connection, callback: Callback) -> bool:
    """Puts the next attempt off, each time for twice as long; the last one gives the callback up and returns True."""
    if callback.attempts >= MAX_ATTEMPTS:
        _give_up(connection, callback.id, callback.request, callback.status)
        return True
    wait = min(_FIRST * 2 ** (callback.attempts - 1), _LONGEST)
    _set(connection, callback.id, next_try=time.time() + wait)
    return False


def _give_up(connection: Connection, callback: str, request: str, status: str) -> None:
    connection.execute(callbacks.delete().where(callbacks.c.id == callback))
    journal.append(connection, "CALLBACK_LOST", request=request, status=status)


def _due() -> Any:
    """What differs from the status told last and may be tried. One put off for longer than ever has seen the clock set back."""
    status = case(STATUS_OF, value=requests.c.status)
    now = time.time()
    ready = (callbacks.c.next_try <= now) | (callbacks.c.next_try > now + _LONGEST + _LEASE)
    both = select(callbacks, status.label("status")).join(requests, requests.c.id == callbacks.c.request)
    return both.where(ready & (callbacks.c.told != status))


def _set(connection: Connection, callback: str, **values: Any) -> None:
    connection.execute(callbacks.update().where(callbacks.c.id == callback).values(**values))

"""People who were named on a page, kept until one button confirms what the page showed of them.

They lie sealed (AES-256-GCM) in the memory of the server, under a key that only the session has. A box is opened once. It is
dropped after `SECONDS`, and no file ever holds it.
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter

from workbench.erasure.intake import Asked, Malformed

SECONDS = 900.0
_MOST = 200  # boxes; the oldest goes first
_NONCE = bytes(12)  # each key seals one box, so its nonce never repeats


@dataclass(frozen=True, kw_only=True)
class Named:
    """The people of one intake, what could not be read of it, and the data set it is about (none: all)."""

    people: tuple[Asked, ...]
    malformed: tuple[Malformed, ...]
    dataset: str | None


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """What opens a box: it names the place and holds the key, and no person."""

    place: str
    key: bytes = field(repr=False)


_NAMED = TypeAdapter(Named)
_boxes: dict[str, tuple[float, bytes]] = {}
_lock = threading.Lock()


def seal(named: Named) -> Ticket:
    """Keep people in the server's memory; what is too old goes."""
    ticket = Ticket(place=secrets.token_hex(16), key=AESGCM.generate_key(bit_length=256))
    box = AESGCM(ticket.key).encrypt(_NONCE, _NAMED.dump_json(named), ticket.place.encode())
    with _lock:
        _drop_old()
        while len(_boxes) >= _MOST:
            del _boxes[next(iter(_boxes))]
        _boxes[ticket.place] = time.monotonic() + SECONDS, box
    return ticket


def unseal(ticket: Ticket) -> Named | None:
    """Take people out of the server's memory; None where they were taken, forgotten or kept for too long."""
    with _lock:
        _drop_old()
        kept = _boxes.pop(ticket.place, None)
    if kept is None:
        return None
    return _NAMED.validate_json(AESGCM(ticket.key).decrypt(_NONCE, kept[1], ticket.place.encode()))


def forget(ticket: Ticket) -> None:
    """Drop people who are not to be confirmed."""
    with _lock:
        _boxes.pop(ticket.place, None)


def _drop_old() -> None:
    now = time.monotonic()
    for place in [place for place, (until, _) in _boxes.items() if until < now]:
        del _boxes[place]

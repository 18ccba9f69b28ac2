"""From a person's identifier to keyed hashes: the identifier itself is never stored.

A token (token key) names a subject in the store; a placement (placement key, never rotated) puts it on the hash line.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOKEN_BYTES = 16
Points = npt.NDArray[np.uint64]


def canonical(identifier: object) -> str:
    """One spelling per identifier: text in Unicode's composed form without surrounding space, whole numbers in decimal."""
    if isinstance(identifier, float) and identifier.is_integer():
        identifier = int(identifier)
    return unicodedata.normalize("NFC", str(identifier)).strip()


def row_identifier(ingest: str, row: int) -> str:
    """The identifier of a row that is its own subject: bound to the ingest that numbered it."""
    return f"{ingest}:{row}"


@dataclass(frozen=True)
class Identities:
    """Keyed hashes of n subjects: tokens (bytes of 16), and points on [0, 2**64) for shard, slice and holdout."""

    tokens: Sequence[bytes]
    points: Points
    slice_points: Points
    holdout_points: Points


def identify(identifiers: Sequence[str], *, identity_type: str, token_key: bytes, placement_key: bytes) -> Identities:
    """HMAC-SHA256 of each canonical identifier under both keys; the identity type separates kinds of numbers."""
    prefix = identity_type.encode() + b"\x00"
    messages = [identifier.encode() for identifier in identifiers]
    tokens = [digest[:TOKEN_BYTES] for digest in _hmacs(token_key, prefix, messages)]
    places = b"".join(_hmacs(placement_key, prefix, messages))
    points = np.frombuffer(places, dtype=">u8").reshape(-1, 4).astype(np.uint64)
    return Identities(tokens, points[:, 0].copy(), points[:, 1].copy(), points[:, 2].copy())


def _hmacs(key: bytes, prefix: bytes, messages: Sequence[bytes]) -> list[bytes]:
    """HMAC-SHA256 (RFC 2104) of each message behind a prefix; what all share is hashed once."""
    block = key.ljust(64, b"\x00") if len(key) <= 64 else hashlib.sha256(key).digest().ljust(64, b"\x00")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + prefix)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    digests = []
    for message in messages:
        within, around = inner.copy(), outer.copy()
        within.update(message)
        around.update(within.digest())
        digests.append(around.digest())
    return digests


def suppression_token(key: bytes, token: bytes) -> bytes:
    """What stays of an erased person where the policy asks for it: HMAC-SHA256 of their token under a key of its own.

    It is made from the token, so a table that is taken in and a backup that is restored are matched without an identifier.
    """
    return hmac.digest(key, b"suppression\x00" + token, "sha256")[:TOKEN_BYTES]

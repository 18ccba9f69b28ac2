"""Certificates of erasure: an in-toto Statement v1 in a DSSE envelope, signed with Ed25519.

A certificate names the person only by a request id and a commitment, no shard, and nothing computed from rows but digests
of models. Whoever verifies it takes the public key from elsewhere, never from the certificate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rfc8785
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from workbench.erasure.keys import signer
from workbench.errors import CheckFailedError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://erasure-workbench.dev/erasure/v1"


def sign(folder: Path, subject: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
    """The signed certificate as JSON bytes. `subject` maps names to SHA-256 digests of what the erasure produced."""
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subject.items())],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return seal(folder, rfc8785.dumps(statement), PAYLOAD_TYPE)


def seal(folder: Path, payload: bytes, payload_type: str) -> bytes:
    """Return `payload` in a DSSE envelope, signed by the key that signs now, as JSON bytes."""
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(signer(folder))
    return _written(envelope)


def _written(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), indent=1).encode()


def open_certificate(content: bytes, keys: Sequence[SSlibKey]) -> dict[str, Any]:
    """The statement of a certificate; see `open_signed`."""
    return open_signed(content, keys)[0]


def open_signed(content: bytes, keys: Sequence[SSlibKey]) -> tuple[dict[str, Any], str]:
    """The statement of a certificate and the id of the key that signed it; raises CheckFailedError where none of `keys` did.

    Exactly the signed bytes are parsed, and only after the check.
    """
    payload, payload_type, signed_by = open_envelope(content, keys, what="certificate")
    try:
        statement = dict(json.loads(payload)) if payload_type == PAYLOAD_TYPE else {}
    except (ValueError, TypeError, RecursionError):
        statement = {}
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise CheckFailedError("the signed statement is not an erasure certificate")
    return statement, signed_by


def open_envelope(content: bytes, keys: Sequence[SSlibKey], *, what: str) -> tuple[bytes, str, str]:
    """Return the payload of a DSSE envelope, its type and the id of the key that signed it.

    Raises CheckFailedError where the envelope is damaged or none of `keys` signed it.
    """
    try:
        envelope = Envelope.from_dict(json.loads(content))
        unaltered = _written(envelope) == content  # also where JSON or base64 would tolerate a change
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        unaltered = False
    if not unaltered:
        raise CheckFailedError(f"the file is not a DSSE envelope: damaged, or not a {what}")
    try:
        accepted = envelope.verify(list(keys), threshold=1)
    except (VerificationError, ValueError):
        raise CheckFailedError(
            f"no valid signature by a trusted key: the {what} was altered or signed by someone else"
        ) from None
    return envelope.payload, envelope.payload_type, next(iter(accepted))

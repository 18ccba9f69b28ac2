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
MOST_BYTES = 16_000_000  # of a certificate: some hundred bytes per model that was trained again
PREDICATE_TYPE = "https://erasure-workbench.dev/erasure/v1"


def sign(folder: Path, subject: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
    """The signed certificate as JSON bytes. `subject` maps names to SHA-256 digests of what the erasure produced."""
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subject.items())],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    envelope = Envelope(rfc8785.dumps(statement), PAYLOAD_TYPE, {})
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
    try:
        envelope = Envelope.from_dict(json.loads(content))
        unaltered = _written(envelope) == content  # also where JSON or base64 would tolerate a change
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        unaltered = False
    if not unaltered:
        raise CheckFailedError("the file is not a DSSE envelope: damaged, or not a certificate")
    try:
        accepted = envelope.verify(list(keys), threshold=1)
    except (VerificationError, ValueError):
        raise CheckFailedError(
            "no valid signature by a trusted key: the certificate was altered or signed by someone else"
        ) from None
    try:
        statement = dict(json.loads(envelope.payload)) if envelope.payload_type == PAYLOAD_TYPE else {}
    except (ValueError, TypeError, RecursionError):
        statement = {}
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise CheckFailedError("the signed statement is not an erasure certificate")
    return statement, next(iter(accepted))

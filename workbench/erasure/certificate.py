"""Certificates of erasure: an in-toto Statement v1 in a DSSE envelope, signed with Ed25519.

A certificate names the person only by a request id and a commitment, no shard, and nothing computed from rows but digests
of models. Whoever verifies it takes the public key from elsewhere, never from the certificate.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature

from workbench.erasure.envelope import Envelope, covered
from workbench.erasure.keys import PublicKey, signer, under_first_name
from workbench.errors import CheckFailedError, InputError
from workbench.foreign import parse_json
from workbench.state.workspace import check_name

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MOST_BYTES = 16_000_000  # of a certificate: some hundred bytes per model that was trained again
_MOST_VALUES = 100  # of an envelope, as anybody may write one; what is signed has the reader's own limit
PREDICATE_TYPE = "https://erasure-workbench.dev/erasure/v1"
_NEEDED = {"request": str, "removed_checkpoints": list, "datasets": list, "environment": dict}
_DIGEST = re.compile("[0-9a-f]{64}")


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
    key = signer(folder)
    return Envelope(payload, payload_type, key.keyid, key.sign(covered(payload, payload_type))).to_bytes()


def open_signed(content: bytes, keys: Sequence[PublicKey]) -> tuple[dict[str, Any], str]:
    """The statement of a certificate and the id of the key that signed it; raises CheckFailedError where none of `keys` did.

    - One signature, and no field but those that are signed or are the signature: nobody can add what a reader takes for signed.
    - Exactly the signed bytes are parsed, and only after the check.
    - The predicate may have fields that this release does not know: they are signed.
    """
    payload, payload_type, signed_by = open_envelope(content, keys, what="certificate")
    if payload_type != PAYLOAD_TYPE or (statement := _statement(payload)) is None:
        raise CheckFailedError("the signed statement is not an erasure certificate")
    return statement, signed_by


def open_envelope(content: bytes, keys: Sequence[PublicKey], *, what: str) -> tuple[bytes, str, str]:
    """Return the payload of a DSSE envelope, its type and the id of the key that signed it.

    Raises CheckFailedError where the file holds anything but an envelope with one signature, or none of `keys` made it.
    """
    envelope = _envelope(content, what)
    known = {name: key for key in keys for name in (key.keyid, under_first_name(key))}
    try:
        key = known[envelope.keyid]
        key.verify(envelope.signature, envelope.signed)
    except (KeyError, InvalidSignature):
        raise CheckFailedError(
            f"no valid signature by a trusted key: the {what} was altered or signed by someone else"
        ) from None
    return envelope.payload, envelope.payload_type, key.keyid


def _envelope(content: bytes, what: str) -> Envelope:
    """The envelope in a file, which holds that and nothing else; raises CheckFailedError for any other content."""
    try:
        document = parse_json(content, what=f"the {what}", most_values=_MOST_VALUES)
        is_one = _has(document, payload=str, payloadType=str, signatures=list)
        if is_one and len(document["signatures"]) == 1 and _has(document["signatures"][0], keyid=str, sig=str):
            envelope = Envelope.from_json(document)
            if envelope.to_bytes() == content:  # else JSON or base64 would tolerate a change
                return envelope
    except (InputError, ValueError):
        pass
    raise CheckFailedError(
        f"the file is not a DSSE envelope with one signature and nothing else: damaged, or not a {what}"
    )


def _statement(payload: bytes) -> dict[str, Any] | None:
    """The statement that was signed, where it is an erasure's."""
    try:
        statement = parse_json(payload, what="the statement")
        if not _has(statement, _type=str, subject=list, predicateType=str, predicate=dict):
            return None
        is_ours = (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
        is_whole = all(map(_is_subject, statement["subject"])) and _is_predicate(statement["predicate"])
    except InputError:
        return None
    return statement if is_ours and is_whole else None


def _is_predicate(document: dict[str, Any]) -> bool:
    """Whether a predicate has the fields that every release writes and verification reads; it may have others."""
    if not all(isinstance(document.get(name), kind) for name, kind in _NEEDED.items()):
        return False
    names = [basis.get("dataset") if isinstance(basis, dict) else None for basis in document["datasets"]]
    return all(isinstance(name, str) and check_name(name, "data set") for name in names) and all(
        isinstance(digest, str) and _DIGEST.fullmatch(digest) for digest in document["removed_checkpoints"]
    )


def _is_subject(document: object) -> bool:
    return isinstance(document, dict) and _has(document, name=str, digest=dict) and _has(document["digest"], sha256=str)


def _has(document: object, **fields: type) -> bool:
    """Whether a document is an object of exactly these fields."""
    return (
        isinstance(document, dict)
        and document.keys() == fields.keys()
        and all(isinstance(document[name], kind) for name, kind in fields.items())
    )

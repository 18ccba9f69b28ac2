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
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from workbench.errors import CheckFailedError, InputError
from workbench.files import write_atomic

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://erasure-workbench.dev/erasure/v1"
_PRIVATE, _PUBLIC = "signing.pem", "signing.pub.pem"


def create_signing_key(folder: Path) -> None:
    """Makes the workspace's Ed25519 key pair (private key mode 0600) unless there is one."""
    if (folder / _PRIVATE).exists():
        return
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_atomic(folder / _PUBLIC, public)
    write_atomic(folder / _PRIVATE, pem, mode=0o600)


def public_key_path(folder: Path) -> Path:
    """Where the workspace's public key lies."""
    return folder / _PUBLIC


def read_public_key(path: Path) -> SSlibKey:
    """An Ed25519 public key from a PEM file; raises InputError for anything else."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        raise InputError(f"{path} is not a public key in PEM form", hint="name the PUBLIC.pem of the signer") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} holds another kind of key; certificates are signed with Ed25519")
    return SSlibKey.from_crypto(key)


def sign(folder: Path, subject: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
    """The signed certificate as JSON bytes. `subject` maps names to SHA-256 digests of what the erasure produced."""
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subject.items())],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    try:
        private = serialization.load_pem_private_key((folder / _PRIVATE).read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError("the signing key of the workspace is missing or damaged", hint="restore keys/ from a backup")
    envelope = Envelope(rfc8785.dumps(statement), PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(private))
    return _written(envelope)


def _written(envelope: Envelope) -> bytes:
    return json.dumps(envelope.to_dict(), indent=1).encode()


def open_certificate(content: bytes, keys: Sequence[SSlibKey]) -> dict[str, Any]:
    """The statement of a certificate, once a signature by one of the trusted `keys` is checked; raises CheckFailedError.

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
        envelope.verify(list(keys), threshold=1)
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
    return statement

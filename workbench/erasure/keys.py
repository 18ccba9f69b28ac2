"""The workspace's signing keys: one that signs, and the public halves of all before it, by which old certificates verify.

A key is called by the SHA-256 of its public half (SubjectPublicKeyInfo, DER). Trust is pinned by files of the workspace, or
by the one the verifier names; never by what a certificate brings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import rfc8785
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from workbench.errors import DamagedError, InputError
from workbench.foreign import read_limited
from workbench.state.atomic_files import remove, sha256, sync, write_atomic

_PRIVATE, _PUBLIC, _NEXT, _TRUSTED = "signing.pem", "signing.pub.pem", "signing.next.pem", "trusted"
_MOST_PEM = 100_000  # bytes


@dataclass(frozen=True)
class PublicKey:
    """A public key and what it is called by."""

    keyid: str
    key: Ed25519PublicKey

    def verify(self, signature: bytes, content: bytes) -> None:
        """Raise InvalidSignature where this key did not sign the content."""
        self.key.verify(signature, content)


@dataclass(frozen=True)
class Signer:
    """The private key that signs now, and what it is called by."""

    keyid: str
    private: Ed25519PrivateKey = field(repr=False)

    def sign(self, content: bytes) -> bytes:
        """The signature of the content."""
        return self.private.sign(content)


def create_signing_key(folder: Path) -> None:
    """Makes the workspace's Ed25519 key pair (private key mode 0600) unless there is one."""
    if (folder / _PRIVATE).exists():
        return
    private = Ed25519PrivateKey.generate()
    write_atomic(folder / _PUBLIC, _public_pem(private))
    write_atomic(folder / _PRIVATE, _private_pem(private), mode=0o600)


def public_key_path(folder: Path) -> Path:
    """Where the public key that signs now lies."""
    return folder / _PUBLIC


def trusted_path(folder: Path, key_id: str) -> Path:
    """Where an earlier public key lies."""
    return folder / _TRUSTED / f"{key_id}.pem"


def read_public_key(path: Path) -> PublicKey:
    """An Ed25519 public key from a PEM file, by its fingerprint; raises InputError for anything else."""
    try:
        content = read_limited(path, most=_MOST_PEM, what="public key")
    except InputError:
        content = b""
    return parse_public_key(content, source=str(path))


def parse_public_key(pem: bytes, *, source: str) -> PublicKey:
    """Return the Ed25519 public key in a PEM text; raise InputError for anything else."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InputError(
            f"{source} is not a public key in PEM form", hint="name the PUBLIC.pem of the signer"
        ) from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{source} holds another kind of key; certificates are signed with Ed25519")
    return _named(key)


def under_first_name(key: PublicKey) -> str:
    """The id that certificates before the rotation of keys gave a key: SHA-256 of its canonical JSON."""
    fields: dict[str, str | dict[str, str]] = {
        "keytype": "ed25519",
        "keyval": {"public": key.key.public_bytes_raw().hex()},
        "scheme": "ed25519",
    }
    return sha256(rfc8785.dumps(fields))


def trusted_keys(folder: Path) -> tuple[PublicKey, ...]:
    """The public key that signs now, then every earlier one."""
    current = _own_public_key(folder / _PUBLIC)
    earlier = (_own_public_key(path) for path in sorted((folder / _TRUSTED).glob("*.pem")))
    return current, *(key for key in earlier if key.keyid != current.keyid)


def _own_public_key(path: Path) -> PublicKey:
    try:
        return read_public_key(path)
    except InputError as fault:
        raise DamagedError(str(fault), hint="restore keys/ from a backup") from None


def signer(folder: Path) -> Signer:
    """The key that signs now; raises DamagedError where it is missing or damaged."""
    private = _private(folder)
    return Signer(_named(private.public_key()).keyid, private)


def begin_rotation(folder: Path) -> tuple[str, str]:
    """Prepares a new key beside the old one, both public halves trusted; returns the ids of the old and the new."""
    old, new = _private(folder), Ed25519PrivateKey.generate()
    ids = [_named(key.public_key()).keyid for key in (old, new)]
    write_atomic(folder / _NEXT, _private_pem(new), mode=0o600)  # first: by it the rest can be taken back
    for key, key_id in zip((old, new), ids, strict=True):
        write_atomic(trusted_path(folder, key_id), _public_pem(key))
    return ids[0], ids[1]


def is_unsettled(folder: Path) -> bool:
    """Whether a rotation was cut off."""
    return (folder / _NEXT).exists()


def settle_rotation(folder: Path, journalled: str | None) -> None:
    """Finishes a rotation that the journal knows, and takes any other back; the old private key is removed by the rename."""
    pending = _read_private(folder / _NEXT)
    if pending is None:
        return
    new = _named(pending.public_key()).keyid
    if new == journalled:
        write_atomic(folder / _PUBLIC, _public_pem(pending))
        (folder / _NEXT).rename(folder / _PRIVATE)
        sync(folder)
    else:
        remove(trusted_path(folder, new))
        remove(folder / _NEXT)


def _named(key: Ed25519PublicKey) -> PublicKey:
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(sha256(der), key)


def _private(folder: Path) -> Ed25519PrivateKey:
    private = _read_private(folder / _PRIVATE)
    if private is None:
        raise DamagedError("the signing key of the workspace is missing or damaged", hint="restore keys/ from a backup")
    return private


def _read_private(path: Path) -> Ed25519PrivateKey | None:
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: encrypted
        return None
    return private if isinstance(private, Ed25519PrivateKey) else None


def _private_pem(private: Ed25519PrivateKey) -> bytes:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return private.private_bytes(*form)


def _public_pem(private: Ed25519PrivateKey) -> bytes:
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(*form)

"""Suppression lists: who was erased, and what was charged, for a restore of an older backup of the same workspace.

Format 2 is a DSSE envelope, signed as certificates are. It holds the journal's head, every charge by its id and every budget.
Format 1 is plain JSON and holds erased people alone. The key that signs may be younger than the backup: the list names it
under a keyed hash that only a copy of the workspace can make.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from securesystemslib.signer import SSlibKey
from sqlalchemy import Connection

from workbench.erasure.certificate import open_envelope, seal
from workbench.erasure.keys import parse_public_key, public_key_path, trusted_keys
from workbench.erasure.suppression import Tokens, listed
from workbench.errors import CheckFailedError, InputError
from workbench.privacy import holds
from workbench.privacy.holds import Known
from workbench.privacy.shared_ledger import Name, SharedLedger, shared_ledger
from workbench.workspace import Workspace

PAYLOAD_TYPE = "application/vnd.workbench.suppressions+json"
MOST_BYTES = 64 << 20
_HINT = "workbench suppressions export FILE"

Token = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Moment = Annotated[str, StringConstraints(max_length=40)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Suppressed(_Document):
    identity_type: Name
    token: Token


class _Journal(_Document):
    sequence: int
    head: Digest
    known_until: Moment
    branch: Digest | Literal[""]


class _Signer(_Document):
    public_key: str
    proof: Digest


class _Plain(_Document):
    format: Literal["workbench-suppressions/1"]
    key: Digest
    suppressions: list[_Suppressed]


class _Signed(_Document):
    format: Literal["workbench-suppressions/2"]
    key: Digest
    created: Moment
    signer: _Signer
    journal: _Journal
    whole: bool
    ledger: SharedLedger
    suppressions: list[_Suppressed]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far the ledger of another copy goes, when it was read, and whether that copy itself misses no charge."""

    known: Known
    read: str
    whole: bool


@dataclass(frozen=True, kw_only=True)
class ForeignList:
    """What a list or another copy of the workspace tells: erased people, and its ledger where it holds one."""

    tokens: Tokens = field(default_factory=dict)
    ledger: SharedLedger = field(default_factory=SharedLedger)
    reach: Reach | None = None


def current_list(connection: Connection) -> ForeignList:
    """Return what a workspace's own list holds now; its charges go at least as far as the journal entry that it names."""
    read, known, whole = holds.moment(), holds.known(connection), not holds.unlifted(connection)
    return ForeignList(
        tokens=listed(connection),
        ledger=shared_ledger(connection),
        reach=Reach(known=known, read=read, whole=whole),
    )


def write_list(workspace: Workspace, folder: Path, mine: ForeignList) -> bytes:
    """Return a list in format 2 as bytes, signed by the key in `folder`."""
    assert mine.reach is not None
    public_key = public_key_path(folder).read_text()
    document = _Signed(
        format="workbench-suppressions/2",
        key=fingerprint(workspace),
        created=mine.reach.read,
        signer=_Signer(public_key=public_key, proof=_proof(workspace, public_key)),
        journal=_Journal(**mine.reach.known.__dict__),
        whole=mine.reach.whole,
        ledger=mine.ledger,
        suppressions=[
            _Suppressed(identity_type=kind, token=token.hex())
            for kind in sorted(mine.tokens)
            for token in sorted(mine.tokens[kind])
        ],
    )
    return seal(folder, document.model_dump_json().encode(), PAYLOAD_TYPE)


def read_list(workspace: Workspace, folder: Path, file: Path) -> ForeignList:
    """Return what a list tells; `folder` holds the workspace's public keys.

    Raises InputError where the file is no list, too large, not signed by a copy of this workspace, or of another workspace.
    """
    content = _content(file)
    try:
        envelope = json.loads(content)
        is_plain = isinstance(envelope, dict) and "payload" not in envelope
        document: _Plain | _Signed = (
            _Plain.model_validate(envelope) if is_plain else _opened(workspace, folder, content, envelope)
        )
    except (ValueError, KeyError, TypeError, RecursionError):  # ValueError: also what pydantic refuses
        raise InputError(f"{file} is not a suppression list", hint=_HINT) from None
    except CheckFailedError as fault:
        raise InputError(f"{file} cannot be trusted: {fault}", hint=_HINT) from None
    if not hmac.compare_digest(document.key, fingerprint(workspace)):
        raise InputError(
            f"{file} is of another workspace than the backup: nobody would be recognised",
            hint="export it from the workspace that the backup was made of",
        )
    tokens: defaultdict[str, set[bytes]] = defaultdict(set)
    for one in document.suppressions:
        tokens[one.identity_type].add(bytes.fromhex(one.token))
    people = {kind: frozenset(some) for kind, some in tokens.items()}
    if isinstance(document, _Plain):
        return ForeignList(tokens=people)
    reach = Reach(known=Known(**document.journal.model_dump()), read=document.created, whole=document.whole)
    return ForeignList(tokens=people, ledger=document.ledger, reach=reach)


def fingerprint(workspace: Workspace) -> str:
    """Return what tells suppression keys apart without giving them away."""
    return hmac.digest(workspace.key("suppression"), b"fingerprint", "sha256").hex()


def _opened(workspace: Workspace, folder: Path, content: bytes, envelope: Any) -> _Signed:
    """Return the document of a signed list, once its signature holds."""
    named = _Signer.model_validate(json.loads(base64.b64decode(envelope["payload"]))["signer"])
    keys = list(trusted_keys(folder))
    if hmac.compare_digest(named.proof, _proof(workspace, named.public_key)):
        keys.append(parse_public_key(named.public_key.encode(), source="the list's key"))
    payload, payload_type, _ = open_envelope(content, _once(keys), what="suppression list")
    if payload_type != PAYLOAD_TYPE:
        raise CheckFailedError("what is signed is not a suppression list")
    return _Signed.model_validate(json.loads(payload))


def _once(keys: list[SSlibKey]) -> list[SSlibKey]:
    return list({key.keyid: key for key in keys}.values())


def _proof(workspace: Workspace, public_key: str) -> str:
    """Return the keyed hash by which a copy of the workspace vouches for a signing key."""
    return hmac.digest(workspace.key("suppression"), b"signer\x00" + public_key.encode(), "sha256").hex()


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as fault:
        raise InputError(f"{file} cannot be read: {fault.strerror}", hint=_HINT) from None
    if len(content) > MOST_BYTES:
        raise InputError(f"{file} is larger than {MOST_BYTES >> 20} MiB, too large for a suppression list", hint=_HINT)
    return content

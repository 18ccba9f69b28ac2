"""Suppression lists: who was erased, and what was charged, for a restore of an older backup of the same workspace.

Format 2 is a DSSE envelope, signed as certificates are. It holds the journal's head, every charge by its id and every budget.
Format 1 is plain JSON and holds erased people alone. The key that signs may be younger than the backup: the list names it
under a keyed hash that only a copy of the workspace can make.
"""

from __future__ import annotations

import base64
import hmac
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import Connection

from workbench.erasure.certificate import open_envelope, seal
from workbench.erasure.keys import PublicKey, parse_public_key, public_key_path, trusted_keys
from workbench.erasure.suppression import Tokens, listed
from workbench.errors import CheckFailedError, InputError
from workbench.foreign import parse_json, read_limited
from workbench.privacy import holds
from workbench.privacy.holds import Known
from workbench.privacy.shared_ledger import Name, SharedLedger, shared_ledger
from workbench.state.workspace import Workspace

PAYLOAD_TYPE = "application/vnd.workbench.suppressions+json"
MOST_BYTES = 64_000_000  # about 400,000 people
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
    holds: list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]]
    ledger: SharedLedger
    suppressions: list[_Suppressed]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far the ledger of another copy goes, when it was read, and under which holds it may miss charges itself."""

    known: Known
    read: str
    holds: frozenset[str]

    def shows_all(self, after: Known, held: frozenset[str]) -> bool:
        """Whether it lacks no charge of after that journal entry, but under holds that are `held` where it is asked.

        The other copy is then the workspace of that journal, at that moment or later, and no restored copy of it.
        """
        is_later = self.known.branch == after.branch and self.known.sequence >= after.sequence
        return is_later and self.holds <= held


@dataclass(frozen=True, kw_only=True)
class ForeignList:
    """What a list or another copy of the workspace tells: erased people, and its ledger where it holds one."""

    tokens: Tokens = field(default_factory=dict)
    ledger: SharedLedger = field(default_factory=SharedLedger)
    reach: Reach | None = None


def current_list(connection: Connection) -> ForeignList:
    """Return what a workspace's own list holds now; its charges go at least as far as the journal entry that it names."""
    reach = Reach(read=holds.moment(), known=holds.known(connection), holds=holds.identities(connection))
    return ForeignList(
        tokens=listed(connection),
        ledger=shared_ledger(connection),
        reach=reach,
    )


def write_list(workspace: Workspace, folder: Path, mine: ForeignList) -> bytes:
    """Return a list in format 2 as bytes, signed by the key in `folder`; raise InputError for one that is too large to read."""
    assert mine.reach is not None
    public_key = public_key_path(folder).read_text()
    document = _Signed(
        format="workbench-suppressions/2",
        key=fingerprint(workspace),
        created=mine.reach.read,
        signer=_Signer(public_key=public_key, proof=_proof(workspace, public_key)),
        journal=_Journal(**mine.reach.known.__dict__),
        holds=sorted(mine.reach.holds),
        ledger=mine.ledger,
        suppressions=[
            _Suppressed(identity_type=kind, token=token.hex())
            for kind in sorted(mine.tokens)
            for token in sorted(mine.tokens[kind])
        ],
    )
    content = seal(folder, document.model_dump_json().encode(), PAYLOAD_TYPE)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"the list would have {len(content):,} bytes, and at most {MOST_BYTES:,} can be read again; nothing was written",
            hint="keep this workspace for a restore: workbench restore BACKUP --live WORKSPACE needs no list",
        )
    return content


def read_list(workspace: Workspace, folder: Path, file: Path) -> ForeignList:
    """Return what a list tells; `folder` holds the workspace's public keys.

    Raises InputError where the file is no list, too large, not signed by a copy of this workspace, or of another workspace.
    """
    content = read_limited(file, most=MOST_BYTES, what="suppression list", hint=_HINT)
    try:
        envelope = parse_json(content, what=str(file))
        is_plain = isinstance(envelope, dict) and "payload" not in envelope
        document: _Plain | _Signed = (
            _Plain.model_validate(envelope) if is_plain else _opened(workspace, folder, content, envelope)
        )
    except (InputError, ValueError, KeyError, TypeError):  # ValueError: also what pydantic refuses
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
    known = Known(**document.journal.model_dump())
    reach = Reach(known=known, read=document.created, holds=frozenset(document.holds))
    return ForeignList(tokens=people, ledger=document.ledger, reach=reach)


def fingerprint(workspace: Workspace) -> str:
    """Return what tells suppression keys apart without giving them away."""
    return hmac.digest(workspace.key("suppression"), b"fingerprint", "sha256").hex()


def _opened(workspace: Workspace, folder: Path, content: bytes, envelope: Any) -> _Signed:
    """Return the document of a signed list, once its signature holds."""
    named = _Signer.model_validate(parse_json(base64.b64decode(envelope["payload"]), what="the list")["signer"])
    keys = list(trusted_keys(folder))
    if hmac.compare_digest(named.proof, _proof(workspace, named.public_key)):
        keys.append(parse_public_key(named.public_key.encode(), source="the list's key"))
    payload, payload_type, _ = open_envelope(content, _once(keys), what="suppression list")
    if payload_type != PAYLOAD_TYPE:
        raise CheckFailedError("what is signed is not a suppression list")
    return _Signed.model_validate(parse_json(payload, what="the list"))


def _once(keys: list[PublicKey]) -> list[PublicKey]:
    return list({key.keyid: key for key in keys}.values())


def _proof(workspace: Workspace, public_key: str) -> str:
    """Return the keyed hash by which a copy of the workspace vouches for a signing key."""
    return hmac.digest(workspace.key("suppression"), b"signer\x00" + public_key.encode(), "sha256").hex()

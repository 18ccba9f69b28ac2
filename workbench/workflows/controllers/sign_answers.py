"""Signing what is said over HTTP with the workspace's signing key, and saying how to check it."""

from __future__ import annotations

import base64
import json

from workbench.data import catalog
from workbench.erasure.keys import public_key_path, signer, trusted_keys, trusted_path
from workbench.erasure.open_dsr import EXTENSION
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.results import (
    Discovery,
    DiscoveryExtension,
    PublicKey,
    SignatureRules,
    SupportedIdentity,
)
from workbench.workflows.erasure.signing_keys import settled
from workbench.workflows.result import Result

SIGNATURE, KEY_ID, DOMAIN = "X-OpenDSR-Signature", "X-OpenDSR-Key-Id", "X-OpenDSR-Processor-Domain"
_DIFFERS = (
    "encoded_request is not sent: it would name the person; the commitment binds the receipt to them",
    "the signing key is told as a public key; pin one that you got from the operator",
    "status denied, with a reason, for what is refused",
)


@internal
def signed(workspace: Workspace, document: Result, domain: str) -> tuple[bytes, dict[str, str]]:
    """A document as JSON bytes, and the headers that sign exactly these.

    A body is a JSON object, so it is never what a certificate's signature covers, which begins with DSSEv1.
    """
    body = json.dumps(document.to_json(), ensure_ascii=False, allow_nan=False).encode()
    return body, signature_of(workspace, body, domain)


@internal
def signature_of(workspace: Workspace, body: bytes, domain: str) -> dict[str, str]:
    """The headers that sign a body."""
    key = signer(settled(workspace))
    return {DOMAIN: domain, SIGNATURE: base64.b64encode(key.sign(body)).decode(), KEY_ID: key.keyid}


@open_to_all
def discovery(workspace: Workspace) -> Discovery:
    """What is supported, by OpenDSR, and how its answers are signed."""
    with workspace.engine.connect() as connection:
        types = {catalog.entry(connection, name).schema.identity_type for name in catalog.names(connection)}
    folder = settled(workspace)
    current, *earlier = (key.keyid for key in trusted_keys(folder))
    paths = {current: public_key_path(folder)} | {key: trusted_path(folder, key) for key in earlier}
    keys = tuple(PublicKey(key_id=k, current=k == current, public_key=path.read_text()) for k, path in paths.items())
    rules = SignatureRules(headers={"signature": SIGNATURE, "key": KEY_ID, "domain": DOMAIN}, keys=keys)
    return Discovery(
        supported_identities=tuple(SupportedIdentity(identity_type=kind) for kind in sorted(types)),
        extensions={EXTENSION: DiscoveryExtension(signature=rules, differs=_DIFFERS)},
    )

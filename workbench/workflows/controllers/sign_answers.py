"""Signing what is said over HTTP with the workspace's signing key, and saying how to check it."""

from __future__ import annotations

import base64
import json
from typing import Any

from workbench.data import catalog
from workbench.erasure.keys import public_key_path, signer, trusted_keys, trusted_path
from workbench.erasure.open_dsr import API_VERSION, EXTENSION
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.signing_keys import settled

SIGNATURE, KEY_ID, DOMAIN = "X-OpenDSR-Signature", "X-OpenDSR-Key-Id", "X-OpenDSR-Processor-Domain"


@internal
def signed(workspace: Workspace, document: dict[str, Any], domain: str) -> tuple[bytes, dict[str, str]]:
    """A document as JSON bytes, and the headers that sign exactly these.

    A body is a JSON object, so it is never what a certificate's signature covers, which begins with DSSEv1.
    """
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    return body, signature_of(workspace, body, domain)


@internal
def signature_of(workspace: Workspace, body: bytes, domain: str) -> dict[str, str]:
    """The headers that sign a body."""
    key = signer(settled(workspace))
    return {DOMAIN: domain, SIGNATURE: base64.b64encode(key.sign(body)).decode(), KEY_ID: key.keyid}


@open_to_all
def discovery(workspace: Workspace) -> dict[str, Any]:
    """What is supported, by OpenDSR, and how its answers are signed."""
    with workspace.engine.connect() as connection:
        types = {catalog.entry(connection, name).schema.identity_type for name in catalog.names(connection)}
    folder = settled(workspace)
    current, *earlier = (key.keyid for key in trusted_keys(folder))
    paths = {current: public_key_path(folder)} | {key: trusted_path(folder, key) for key in earlier}
    keys = [{"key_id": key, "current": key == current, "public_key": path.read_text()} for key, path in paths.items()]
    return {
        "api_version": API_VERSION,
        "supported_identities": [{"identity_type": kind, "identity_format": "raw"} for kind in sorted(types)],
        "supported_subject_request_types": ["erasure"],
        "processor_certificate": None,
        "extensions": {
            EXTENSION: {
                "signature": {
                    "algorithm": "Ed25519",
                    "covers": "the bytes of the body",
                    "encoding": "base64",
                    "headers": {"signature": SIGNATURE, "key": KEY_ID, "domain": DOMAIN},
                    "keys": keys,
                },
                "differs": [
                    "encoded_request is not sent: it would name the person; the commitment binds the receipt to them",
                    "the signing key is told as a public key; pin one that you got from the operator",
                    "status denied, with a reason, for what is refused",
                ],
            }
        },
    }

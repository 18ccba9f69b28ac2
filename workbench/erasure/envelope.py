"""DSSE v1 envelopes with one Ed25519 signature, as bytes that any reader of the format takes.

Written here, as the format is a base64 text and one line of encoding, while the library for it loads the programs of every
cloud that can keep keys.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Envelope:
    """A payload, its type, and a signature by the key of that id."""

    payload: bytes
    payload_type: str
    keyid: str
    signature: bytes

    @classmethod
    def from_json(cls, document: Any) -> Envelope:
        """The envelope of a JSON document with these fields and one signature; raises ValueError where one is no base64."""
        (signature,) = document["signatures"]
        return cls(
            _decoded(document["payload"]), document["payloadType"], signature["keyid"], _decoded(signature["sig"])
        )

    def to_bytes(self) -> bytes:
        """The envelope as JSON bytes."""
        document = {
            "payload": _encoded(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": self.keyid, "sig": _encoded(self.signature)}],
        }
        return json.dumps(document, indent=1).encode()

    @property
    def signed(self) -> bytes:
        """What the signature covers."""
        return covered(self.payload, self.payload_type)


def covered(payload: bytes, payload_type: str) -> bytes:
    """What a signature of a payload covers: DSSE's pre-authentication encoding, which no JSON document can be."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

"""What the OpenAPI document says of bodies and answers. The answers are made by the workflows; this describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from workbench.erasure.callback import MAX_URLS
from workbench.erasure.callback_url import MAX_URL
from workbench.erasure.intake import MAX_IDENTITIES, MAX_KEY
from workbench.erasure.open_dsr import API_VERSION, EXTENSION

_UUID4 = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-4[0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$"
_KEY = r"^[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]{0,332}$"  # composing may triple the length
REQUEST: dict[str, Any] = {
    "type": "object",
    "required": [
        "regulation",
        "subject_request_id",
        "subject_request_type",
        "subject_identities",
        "submitted_time",
        "api_version",
    ],
    "properties": {
        "regulation": {"type": "string", "pattern": "^[!-~]+$", "examples": ["gdpr"]},
        "subject_request_id": {"type": "string", "pattern": _UUID4},
        "subject_request_type": {"const": "erasure"},
        "submitted_time": {"type": "string", "format": "date-time"},
        "api_version": {"const": API_VERSION},
        "subject_identities": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_IDENTITIES,
            "items": {
                "type": "object",
                "required": ["identity_type", "identity_value", "identity_format"],
                "properties": {
                    "identity_type": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
                    "identity_value": {
                        "description": f"At most {MAX_KEY:,} characters in composed form, none of them a control character.",
                        "anyOf": [{"type": "string", "pattern": _KEY}, {"type": "integer"}],
                    },
                    "identity_format": {"const": "raw"},
                },
            },
        },
        "status_callback_urls": {
            "description": "https addresses that are told each change of status; they hold no identifier.",
            "type": "array",
            "maxItems": MAX_URLS,
            "items": {"type": "string", "format": "uri", "maxLength": MAX_URL},
        },
    },
}
ROWS: dict[str, Any] = {
    "type": "object",
    "required": ["rows"],
    "properties": {
        "rows": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
        }
    },
}


class Error(BaseModel):
    """`code` is the HTTP status, `reason` a stable word for programs."""

    code: int
    reason: str
    message: str
    hint: str


class Fault(BaseModel):
    """Why a call was not answered as asked."""

    error: Error


class Extension(BaseModel):
    """What is said beyond OpenDSR. `nonce` opens the commitment: told with the receipt and kept nowhere."""

    status: str
    approval: Literal["none", "waiting", "given"]
    not_before: str | None
    commitment: str
    certificate: str | None
    nonce: str | None = None
    duplicate_of: str | None = None


class Extensions(BaseModel):
    """By processor."""

    ours: Extension = Field(alias=EXTENSION)


class Standing(BaseModel):
    """How a request stands, signed; `reason` says why it was denied or what it waits for."""

    controller_id: str
    subject_request_id: str
    request_status: Literal["pending", "in_progress", "completed", "cancelled", "denied"]
    reason: str | None
    received_time: str
    expected_completion_time: str
    api_version: Literal["2.0"]
    results_url: None
    extensions: Extensions


class Identity(BaseModel):
    """A kind of identifier that requests may name."""

    identity_type: str
    identity_format: Literal["raw"]


class Discovery(BaseModel):
    """What is supported and how answers are signed."""

    api_version: Literal["2.0"]
    supported_identities: list[Identity]
    supported_subject_request_types: list[str]
    processor_certificate: None
    extensions: dict[str, Any]


class Predictions(BaseModel):
    """A record per row: the prediction, and the probability of each class where the model tells it."""

    ensemble: str
    predictions: list[dict[str, str | float | bool]]


class Health(BaseModel):
    """The server answers and its database can be read."""

    status: Literal["ok"]


class Certificate(BaseModel):
    """A DSSE envelope; check it with `workbench verify`."""

    payload: str
    payloadType: str  # noqa: N815 (DSSE's name)
    signatures: list[dict[str, Any]]

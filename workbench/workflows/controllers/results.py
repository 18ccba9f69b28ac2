"""What the workflows of controllers return, and the documents that they write. Times are ISO 8601 texts in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from workbench.erasure.open_dsr import API_VERSION, EXTENSION, STATUS_OF
from workbench.erasure.request import reason_of
from workbench.workflows.result import Result

# Tokens


@dataclass(frozen=True, kw_only=True)
class TokenDetails(Result):
    """A token of a controller, without its secret; `good` while it is neither revoked nor expired."""

    token: str
    name: str
    scopes: tuple[str, ...]
    created: str
    expires: str
    revoked: str | None
    good: bool


@dataclass(frozen=True, kw_only=True)
class Tokens(Result):
    """All tokens, oldest first."""

    tokens: tuple[TokenDetails, ...]


@dataclass(frozen=True, kw_only=True)
class NewToken(TokenDetails):
    """A token that was made, with its secret, which is kept nowhere."""

    secret: str


@dataclass(frozen=True, kw_only=True)
class RotatedToken(NewToken):
    """A token that takes the place of another, which ends at `before_expires`."""

    before: str
    before_expires: str


# Requests in an inbox


@dataclass(frozen=True, kw_only=True)
class WorkerResult(Result):
    """What a worker did: files and requests it took, and files that could not be read. `exit` is the exit code."""

    INTERNAL: ClassVar[frozenset[str]] = frozenset({"exit"})

    inbox: str
    files: int
    requests: int
    poison: int
    exit: int


@dataclass(frozen=True, kw_only=True)
class ReceiptEntry(Result):
    """What a sender gets of one line of a file: its request, the commitment to its person, and the nonce that opens it."""

    INTERNAL: ClassVar[frozenset[str]] = frozenset({"exit"})

    line: int
    request: str | None
    status: str
    due: str | None = None
    commitment: str | None = None
    nonce: str | None = None
    reason: str | None
    duplicate_of: str | None = None
    known_before: bool | None = None
    exit: int


@dataclass(frozen=True, kw_only=True)
class RefusedEntry(ReceiptEntry):
    """A line that no request was recorded for."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"due", "commitment", "nonce", "duplicate_of", "known_before"})

    request: None = None
    status: str = "rejected"
    reason: str


@dataclass(frozen=True, kw_only=True)
class BatchReceipt(Result):
    """The receipt of a file."""

    batch: str
    requests: tuple[ReceiptEntry, ...]


@dataclass(frozen=True, kw_only=True)
class BatchEntry(Result):
    """What is kept of one line of a file until its request is over."""

    line: int
    request: str | None
    reason: str | None
    duplicate_of: str | None
    exit: int

    @classmethod
    def of(cls, entry: ReceiptEntry) -> Self:
        """Return what is kept of an entry of a receipt."""
        return cls(
            line=entry.line,
            request=entry.request,
            reason=entry.reason,
            duplicate_of=entry.duplicate_of,
            exit=entry.exit,
        )


@dataclass(frozen=True, kw_only=True)
class BatchState(Result):
    """What is kept of a file, by its name, until all its requests are over."""

    name: str
    requests: tuple[BatchEntry, ...]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the state that was written."""
        return cls(name=document["name"], requests=tuple(BatchEntry(**entry) for entry in document["requests"]))


@dataclass(frozen=True, kw_only=True)
class ResultEntry(Result):
    """How the request of one line stands; a duplicate has the certificate of the one it repeats."""

    INTERNAL: ClassVar[frozenset[str]] = frozenset({"exit"})

    line: int
    request: str | None
    status: str
    reason: str | None
    duplicate_of: str | None
    certificate: str | None
    exit: int


@dataclass(frozen=True, kw_only=True)
class BatchResult(Result):
    """How the requests of a file stand."""

    batch: str
    requests: tuple[ResultEntry, ...]


# OpenDSR 2.0


@dataclass(frozen=True, kw_only=True)
class StandingExtension(Result):
    """What the workbench says of a request beyond OpenDSR; the certificate is an address of this server."""

    status: str
    approval: str
    not_before: str | None
    commitment: str
    certificate: str | None

    @classmethod
    def of(cls, row: Any) -> StandingExtension:
        """Return what is said of the request of a row."""
        return StandingExtension(
            status=row.status,
            approval=row.approval,
            not_before=row.not_before if row.status == "quarantined" else None,
            commitment=row.commitment,
            certificate=f"/certificates/{row.id}" if row.certificate else None,
        )


@dataclass(frozen=True, kw_only=True)
class ReceiptExtension(StandingExtension):
    """The same with the nonce for the requester, 32 hexadecimal digits, and the open request that it repeats."""

    nonce: str | None
    duplicate_of: str | None


@dataclass(frozen=True, kw_only=True)
class Standing(Result):
    """How a request stands, for its controller, as OpenDSR 2.0 says it. It names nobody."""

    controller_id: str
    subject_request_id: str
    request_status: str
    reason: str | None
    received_time: str
    expected_completion_time: str
    api_version: str = API_VERSION
    results_url: None = None
    extensions: Mapping[str, StandingExtension]

    @classmethod
    def of(cls, row: Any, controller: str) -> Standing:
        """Return how the request of a row stands."""
        return Standing(
            controller_id=controller,
            subject_request_id=row.id,
            request_status=STATUS_OF[row.status],
            reason=reason_of(row),
            received_time=row.received,
            expected_completion_time=row.due,
            extensions={EXTENSION: StandingExtension.of(row)},
        )


@dataclass(frozen=True, kw_only=True)
class RequestReceipt(Standing):
    """What answers a request that was handed in."""

    extensions: Mapping[str, ReceiptExtension]

    @classmethod
    def of_new(cls, row: Any, controller: str, *, nonce: str | None, duplicate_of: str | None) -> Self:
        """Return the receipt of the request of a row."""
        extension = ReceiptExtension(**vars(StandingExtension.of(row)), nonce=nonce, duplicate_of=duplicate_of)
        return cls(**{**vars(Standing.of(row, controller)), "extensions": {EXTENSION: extension}})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return a receipt that was kept."""
        extension = ReceiptExtension(**document["extensions"][EXTENSION])
        return cls(**{**document, "extensions": {EXTENSION: extension}})


@dataclass(frozen=True, kw_only=True)
class CallbackDocument(Standing):
    """What a callback says, at the address that it is called at."""

    status_callback_url: str

    @classmethod
    def of_url(cls, row: Any, controller: str, url: str) -> Self:
        """Return what is said of the request of a row."""
        return cls(**vars(Standing.of(row, controller)), status_callback_url=url)


@dataclass(frozen=True, kw_only=True)
class SupportedIdentity(Result):
    """A kind of identifier that requests may name a person by."""

    identity_type: str
    identity_format: str = "raw"


@dataclass(frozen=True, kw_only=True)
class PublicKey(Result):
    """A key that answers are signed with, as PEM."""

    key_id: str
    current: bool
    public_key: str


@dataclass(frozen=True, kw_only=True)
class SignatureRules(Result):
    """How answers are signed, and in which headers that is."""

    algorithm: str = "Ed25519"
    covers: str = "the bytes of the body"
    encoding: str = "base64"
    headers: Mapping[str, str]
    keys: tuple[PublicKey, ...]


@dataclass(frozen=True, kw_only=True)
class DiscoveryExtension(Result):
    """What the workbench says of its answers beyond OpenDSR."""

    signature: SignatureRules
    differs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Discovery(Result):
    """What is supported, by OpenDSR 2.0."""

    api_version: str = API_VERSION
    supported_identities: tuple[SupportedIdentity, ...]
    supported_subject_request_types: tuple[str, ...] = ("erasure",)
    processor_certificate: None = None
    extensions: Mapping[str, DiscoveryExtension]

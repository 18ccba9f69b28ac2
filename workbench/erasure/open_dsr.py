"""What is said of a request by OpenDSR 2.0, "Data Subject Request": its status and documents. Pure.

Two things differ on purpose, and `/discovery` says so: the request is not sent back encoded, because it names the person, and
the signing key is told as a public key, not as a certificate.
"""

from __future__ import annotations

from typing import Any

from workbench.erasure.request import OPEN, reason_of

API_VERSION = "2.0"
EXTENSION = "erasure-workbench"
PENDING, IN_PROGRESS, COMPLETED, CANCELLED, DENIED = STATUSES = (
    *("pending", "in_progress", "completed"),
    *("cancelled", "denied"),
)
FINAL = (COMPLETED, CANCELLED, DENIED)
STATUS_OF = {
    **dict.fromkeys(OPEN, IN_PROGRESS),
    "quarantined": PENDING,
    "completed": COMPLETED,
    "cancelled": CANCELLED,
    "denied": DENIED,
    "rejected": DENIED,
}


def standing(row: Any, controller: str) -> dict[str, Any]:
    """How the request of a row stands, for its controller. It names nobody."""
    return {
        "controller_id": controller,
        "subject_request_id": row.id,
        "request_status": STATUS_OF[row.status],
        "reason": reason_of(row),
        "received_time": row.received,
        "expected_completion_time": row.due,
        "api_version": API_VERSION,
        "results_url": None,
        "extensions": {
            EXTENSION: {
                "status": row.status,
                "approval": row.approval,
                "not_before": row.not_before if row.status == "quarantined" else None,
                "commitment": row.commitment,
                "certificate": f"/certificates/{row.id}" if row.certificate else None,
            }
        },
    }


def receipt(row: Any, controller: str, *, nonce: str | None, duplicate_of: str | None) -> dict[str, Any]:
    """What answers a request that was handed in: how it stands, the nonce for its requester, and which one it repeats."""
    document = standing(row, controller)
    extension = document["extensions"][EXTENSION] | {"nonce": nonce, "duplicate_of": duplicate_of}
    return document | {"extensions": {EXTENSION: extension}}


def told_at(row: Any, controller: str, url: str) -> dict[str, Any]:
    """What a callback says."""
    return standing(row, controller) | {"status_callback_url": url}

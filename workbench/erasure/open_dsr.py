"""What is said of a request by OpenDSR 2.0, "Data Subject Request": its status. Pure.

Two things differ on purpose, and `/discovery` says so: the request is not sent back encoded, because it names the person, and
the signing key is told as a public key, not as a certificate.
"""

from __future__ import annotations

from workbench.erasure.request import OPEN

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

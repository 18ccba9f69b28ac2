"""How the server behaves; all of it comes from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.erasure.callback_url import CallbackRules


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`domain` is what answers and callbacks call this server. Rates are as `limits` reads them: 200/second.

    `hosts` are the names that a call may know the server by; None takes any.
    """

    domain: str = "localhost"
    hosts: frozenset[str] | None = None
    per_token: str = "200/second"
    per_client: str = "400/second"
    most_request_bytes: int = 65_536
    most_rows_bytes: int = 8_000_000
    most_rows: int = 10_000
    body_seconds: float = 20.0
    callbacks: CallbackRules = field(default_factory=CallbackRules)
    callback_interval: float = 1.0

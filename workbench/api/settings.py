"""How the server behaves; all of it comes from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ConfigDict, with_config

from workbench.erasure.callback_url import CallbackRules


@with_config(ConfigDict(use_attribute_docstrings=True))
@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the HTTP server behaves. Rates are as the library `limits` reads them: 200/second."""

    domain: str = "localhost"
    """What answers and callbacks call this server: `--domain`."""
    hosts: frozenset[str] | None = None
    """The names that a call may know the server by: on loopback its own and `--domain`, with `--remote` any."""
    per_token: str = "200/second"
    """How often one token may call: `--per-token`. Beyond it the answer is 429."""
    per_client: str = "400/second"
    """How often one address may call, whatever its token: `--per-client`. Behind a proxy all calls are of one address."""
    most_request_bytes: int = 65_536
    """Most bytes of a request's body, other than rows to predict; more is answered 413. Fixed."""
    most_rows_bytes: int = 8_000_000
    """Most bytes of rows to predict in one call. Fixed."""
    most_rows: int = 10_000
    """Most rows to predict in one call. Fixed."""
    header_seconds: float = 10.0
    """Seconds that a connection may wait for the headers of a call, answered 408 and ended after that; also that it may send on
    after an answer, and that a client may take to read 64 KiB of one. Fixed."""
    most_waiting: int = 256
    """Most connections that wait for a call or for their client to read; beyond it the client with the most loses its oldest.
    Fixed."""
    most_connections: int = 512
    """Most connections in all, or three quarters of the files that the process may open; beyond it the client with the most
    loses its oldest. Fixed."""
    most_calls: int = 256
    """Most calls that are answered at the same time; more are answered 503. Fixed."""
    body_seconds: float = 20.0
    """Seconds that a body may take to arrive. Fixed."""
    callbacks: CallbackRules = field(default_factory=CallbackRules)
    """Which addresses may be called back."""
    callback_interval: float = 1.0
    """Seconds between two looks for callbacks that are due. Fixed."""

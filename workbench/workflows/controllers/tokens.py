"""Tokens for those who ask over HTTP: made, listed, revoked, rotated, and recognised.

A secret is told once, when it is made; kept is its HMAC-SHA256 under a key of its own.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from workbench.erasure.free_text import refuse_names
from workbench.errors import InputError, NotFoundError, ScopeError, UnknownCallerError
from workbench.state import journal, writing
from workbench.state.atomic_files import write_atomic
from workbench.state.roles import allowed, open_to_all
from workbench.state.tables import tokens
from workbench.state.workspace import Workspace, check_name
from workbench.workflows.controllers.results import NewToken, RotatedToken, TokenDetails, Tokens

SCOPES = ("requests:write", "requests:read", "predict", "certificates", "metrics")
KEY = "api"  # the secret key that tokens, idempotency keys and callback addresses are kept under
_PREFIX = "wbt_"
_MAX_DAYS = 3650
_MAX_SECRET = 200


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks: a token by its id, and the controller it stands for."""

    token: str
    name: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """What the journal and a request's row call them."""
        return f"api:{self.name}"

    def require(self, scope: str) -> None:
        """Raises ScopeError where the token does not cover `scope`."""
        if scope not in self.scopes:
            raise ScopeError(f"the token does not cover {scope}", hint="workbench tokens create NAME --scope …")


@allowed("administer")
def create_token(workspace: Workspace, name: str, scopes: Collection[str], *, days: int = 90) -> NewToken:
    """A new token for the controller `name`, with its secret, which is told here and never again."""
    check_name(name, "controller")
    refuse_names(workspace, name, "the controller's name")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise InputError("a token takes one scope or more", hint=f"the scopes are {', '.join(SCOPES)}")
    if not 1 <= days <= _MAX_DAYS:
        raise InputError(f"a token is good for 1 to {_MAX_DAYS} days")
    with writing(workspace.engine) as connection:
        return _make(connection, _made_key(workspace), name, sorted(set(scopes)), _in(days=days))


@allowed("administer")
def list_tokens(workspace: Workspace) -> Tokens:
    """All tokens by id, oldest first, without a secret."""
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(tokens).order_by(tokens.c.created, tokens.c.id)).all()
    return Tokens(tokens=tuple(map(_details, rows)))


@allowed("administer")
def revoke_token(workspace: Workspace, token: str) -> TokenDetails:
    """Ends a token at once."""
    with writing(workspace.engine) as connection:
        row = _get(connection, token)
        if row.revoked is None:
            connection.execute(tokens.update().where(tokens.c.id == token).values(revoked=journal.now()))
            journal.append(connection, "TOKEN_REVOKED", token=token)
        return _details(_get(connection, token))


@allowed("administer")
def rotate_token(workspace: Workspace, token: str, *, days: int = 90, grace_hours: int = 24) -> RotatedToken:
    """A new token with the same name and scopes; the old one ends after the hours of grace, or earlier where it would."""
    if not 0 <= grace_hours <= 24 * _MAX_DAYS or not 1 <= days <= _MAX_DAYS:
        raise InputError(f"a token is good for 1 to {_MAX_DAYS} days, the grace no more")
    with writing(workspace.engine) as connection:
        row = _get(connection, token)
        if not _is_good(row):
            raise InputError(f"token {token} is over, so it can't be rotated", hint="workbench tokens create")
        expires = min(row.expires, _in(hours=grace_hours))
        connection.execute(tokens.update().where(tokens.c.id == token).values(expires=expires))
        made = _make(connection, _made_key(workspace), row.name, row.scopes, _in(days=days))
        return RotatedToken(**vars(made), before=token, before_expires=expires)


@open_to_all
def recognise(workspace: Workspace, secret: str) -> Caller:
    """Who has that secret; raises UnknownCallerError where nobody has, or no longer."""
    path = workspace.root / "keys" / f"{KEY}.key"
    row = None
    if len(secret) <= _MAX_SECRET and path.is_file():  # without the key no token was ever made
        digest = _digest(workspace.key(KEY), secret)
        with workspace.engine.connect() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
    if row is None or not _is_good(row):
        raise UnknownCallerError("the token is unknown, expired or revoked", hint="Authorization: Bearer TOKEN")
    return Caller(token=row.id, name=row.name, scopes=frozenset(row.scopes))


def _make(connection: Connection, key: bytes, name: str, scopes: Collection[str], expires: str) -> NewToken:
    token, secret = f"tk-{secrets.token_hex(6)}", _PREFIX + secrets.token_urlsafe(32)
    values = {"name": name, "scopes": list(scopes), "created": journal.now(), "expires": expires}
    connection.execute(tokens.insert().values(id=token, digest=_digest(key, secret), **values))
    journal.append(connection, "TOKEN_CREATED", token=token, scopes=list(scopes), expires=expires)  # the name can go
    return NewToken(**vars(_details(_get(connection, token))), secret=secret)


def _made_key(workspace: Workspace) -> bytes:
    """The key, made where there is none; the caller's write transaction keeps others from making it too."""
    path = workspace.root / "keys" / f"{KEY}.key"
    if not path.exists():
        write_atomic(path, secrets.token_bytes(32), mode=0o600)
    return workspace.key(KEY)


def _digest(key: bytes, secret: str) -> bytes:
    return hmac.digest(key, b"token\x00" + secret.encode(errors="surrogatepass"), "sha256")


def _get(connection: Connection, token: str) -> Any:
    row = connection.execute(select(tokens).where(tokens.c.id == token)).one_or_none()
    if row is None:
        raise NotFoundError("no such token here", hint="workbench tokens list")
    return row


def _is_good(row: Any) -> bool:
    return row.revoked is None and row.expires > journal.now()


def _details(row: Any) -> TokenDetails:
    return TokenDetails(
        token=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        good=_is_good(row),
    )


def _in(**duration: int) -> str:
    return (dt.datetime.fromisoformat(journal.now()) + dt.timedelta(**duration)).isoformat(timespec="seconds")
